{{/* One agent on a node: every object has the release's name, which is to be `pullscope`, or another. */}}
{{- define "pullscope.name" -}}
{{ .Release.Name | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- define "pullscope.selector" -}}
app.kubernetes.io/name: pullscope
{{- if ne .Release.Name "pullscope" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
{{- end }}

{{- define "pullscope.labels" -}}
{{ include "pullscope.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* What differs from one distribution to the next, as YAML: the overlays of deploy/overlays have the same. */}}
{{- define "pullscope.distribution" -}}
{{- $d := .Values.distribution }}
{{- if or (eq $d "k3s") (eq $d "rke2") }}
run: /run/k3s/containerd
lib: /var/lib/rancher/{{ $d }}/agent/containerd
config: /var/lib/rancher/{{ $d }}/agent/etc/containerd
user: 0
containerd:
  socket: /run/k3s/containerd/containerd.sock
  config: /var/lib/rancher/{{ $d }}/agent/etc/containerd/config.toml
{{- else if eq $d "microk8s" }}
run: /var/snap/microk8s/common/run
lib: /var/snap/microk8s/common/var/lib/containerd
config: /var/snap/microk8s/current/args
user: 0
containerd:
  socket: /var/snap/microk8s/common/run/containerd.sock
  config: /var/snap/microk8s/current/args/containerd.toml
  config_path: /var/snap/microk8s/current/args/certs.d
{{- else }}
run: /run/containerd
lib: /var/lib/containerd
config: /etc/containerd
user: 65532
{{- end }}
{{- end }}

{{/* config.yaml: what the distribution needs, and the values over it. */}}
{{- define "pullscope.config" -}}
{{- $distribution := include "pullscope.distribution" . | fromYaml }}
{{- $config := dict "resolv_conf" "/host/etc/resolv.conf" }}
{{- with $distribution.containerd }}
{{- $_ := set $config "containerd" . }}
{{- end }}
{{- if .Values.credentialsSecret }}
{{- $_ := set $config "credentials" (dict "docker_config" "/etc/pullscope-credentials/config.json") }}
{{- end }}
{{- if .Values.events.enabled }}
{{- $_ := set $config "workloads" (dict "events" true) }}
{{- end }}
{{- mergeOverwrite $config (deepCopy .Values.config) | toYaml }}
{{- end }}
