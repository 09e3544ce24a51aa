// What Go's net/http makes of proxy variables: a line of JSON in for each case, a line out. Go reads the variables once
// in a process, so that this program runs itself again for each case.
package main

import (
	"bufio"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"os/exec"
)

type question struct {
	Env  map[string]string `json:"env"`
	Urls []string          `json:"urls"`
}

type answer struct {
	Scheme   string `json:"scheme"`
	Host     string `json:"host"`
	Port     string `json:"port"`
	User     string `json:"user"`
	Password string `json:"password"`
}

func main() {
	if len(os.Args) > 1 {
		one(os.Args[1:])
		return
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var q question
		if err := json.Unmarshal(lines.Bytes(), &q); err != nil {
			panic(err)
		}
		again := exec.Command(os.Args[0], q.Urls...)
		again.Env = []string{}
		for name, value := range q.Env {
			again.Env = append(again.Env, name+"="+value)
		}
		out, err := again.Output()
		if err != nil {
			panic(err)
		}
		os.Stdout.Write(out)
	}
}

func one(urls []string) {
	answers := []*answer{}
	for _, text := range urls {
		parsed, err := url.Parse(text)
		if err != nil {
			panic(err)
		}
		proxy, err := http.ProxyFromEnvironment(&http.Request{URL: parsed})
		if err != nil || proxy == nil {
			answers = append(answers, nil)
			continue
		}
		password, _ := proxy.User.Password()
		answers = append(answers, &answer{proxy.Scheme, proxy.Hostname(), proxy.Port(), proxy.User.Username(), password})
	}
	json.NewEncoder(os.Stdout).Encode(answers)
}
