//! A real nginx: as a front that changes what a registry says, as a token service, or as any other web server.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use serde::Deserialize;

use super::clock::Ahead;
use super::image;
use super::process::Process;
use super::tls::Identity;
use crate::{Fallible, PASSWORD, USER};

/// What is answered at one place instead of, or beside, what the registry behind says.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// In nginx's words: `/v2/` for all below it, `= /v2/` for just that. `@layer@` is the digest of the test image's
    /// layer and `@config@` that of its configuration, here and in the body; `@body@`, here and in headers, is the digest
    /// of the body; `@layer-size@` and `@config-size@`, in the body, are their bytes.
    pub location: String,
    /// Only for this method; others go to the registry behind.
    pub method: Option<String>,
    /// Only for requests that bear an `Authorization`; others go to the registry behind.
    #[serde(default)]
    pub authorized: bool,
    /// The status to answer with, 444 to cut the connection; none: the registry behind answers.
    pub status: Option<u16>,
    /// Headers to add.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body, or for 3xx the address to go to.
    #[serde(default)]
    pub body: String,
    /// So many thousand bytes more in the header.
    #[serde(default)]
    pub padding: usize,
    /// Answer with a signed token.
    #[serde(default)]
    pub token: bool,
    /// That token by OAuth2's name (`access_token`) alone.
    #[serde(default)]
    pub oauth: bool,
    /// Ask for the user and the password.
    #[serde(default)]
    pub password: bool,
    /// Never answer.
    #[serde(default)]
    pub hang: bool,
    /// What the registry behind says goes out at so many bytes a second, in nginx's words: `30k`.
    pub rate: Option<String>,
    /// So many go out before that at once: `2m`.
    pub rate_after: Option<String>,
    /// Where the place stands in the registry behind, if elsewhere: `/v2/`.
    pub stands_at: Option<String>,
}

/// What one nginx is to do.
#[derive(Debug)]
pub struct Site<'a> {
    /// Where it listens.
    pub listen: &'a [SocketAddr],
    /// Its certificate; none: plain HTTP.
    pub identity: Option<&'a Identity>,
    /// The registry behind, on plain HTTP.
    pub behind: Option<SocketAddr>,
    /// An address that never answers, for routes that hang.
    pub blackhole: Option<SocketAddr>,
    /// What it answers by itself.
    pub routes: &'a [Route],
    /// Close each connection after one answer.
    pub one_answer: bool,
    /// Let in only those with a certificate under these roots (PEM).
    pub clients: Option<&'a Path>,
    /// The only versions of TLS that it speaks, in its own words.
    pub versions: Option<&'a str>,
    /// What a token service says.
    pub token: &'a str,
    /// How far its clock is ahead of this machine's.
    pub clock: Option<Ahead>,
}

/// Starts nginx.
pub fn start(name: &str, dir: &Path, site: &Site<'_>) -> Fallible<Process> {
    let home = dir.join(name);
    fs::create_dir_all(&home)?;
    // nginx takes the password in clear behind {PLAIN}.
    fs::write(home.join("htpasswd"), format!("{USER}:{{PLAIN}}{PASSWORD}\n"))?;
    fs::write(home.join("nginx.conf"), configuration(&home, site)?)?;
    let (prefix, conf) = (home.to_string_lossy(), home.join("nginx.conf"));
    let own = ["-p", &prefix, "-c", &conf.to_string_lossy(), "-e", "stderr"];
    let program = match site.clock {
        Some(ahead) => ahead.wrapping("nginx").to_vec(),
        None => vec!["nginx".to_owned()],
    };
    let (first, more) = program.split_first().expect("it has a name");
    let args: Vec<_> = more.iter().map(String::as_str).chain(own).collect();
    let mut process = Process::start(name, dir, first, &args)?;
    for &address in site.listen {
        process.wait_for_port(address)?;
    }
    Ok(process)
}

fn configuration(home: &Path, site: &Site<'_>) -> Fallible<String> {
    let dir = home.display();
    let mut conf = format!(
        "daemon off; master_process off; pid {dir}/pid;\nevents {{}}\nhttp {{\n\
         log_format told '$request_method $request_uri $status $remote_user';\naccess_log /dev/stdout told;\n"
    );
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        writeln!(conf, "{kind}_temp_path {dir}/{kind};")?;
    }
    conf.push_str("server {\n");
    if site.one_answer {
        conf.push_str("keepalive_timeout 0;\n");
    }
    let ssl = if site.identity.is_some() { " ssl" } else { "" };
    for address in site.listen {
        writeln!(conf, "listen {address}{ssl};")?;
    }
    if let Some(id) = site.identity {
        writeln!(conf, "ssl_certificate {}; ssl_certificate_key {};", id.chain.display(), id.key.display())?;
    }
    if let Some(versions) = site.versions {
        // OpenSSL 3 has the old versions at its lowest level of security only.
        writeln!(conf, "ssl_protocols {versions}; ssl_ciphers ALL:@SECLEVEL=0;")?;
    }
    if let Some(roots) = site.clients {
        writeln!(conf, "ssl_client_certificate {}; ssl_verify_client on;", roots.display())?;
    }
    for (n, route) in site.routes.iter().enumerate() {
        writeln!(conf, "{}", location(n, route, site, home)?)?;
    }
    if let Some(behind) = site.behind
        && !site.routes.iter().any(|route| route.location == "/")
    {
        writeln!(conf, "location / {{ {} }}", proxy(behind, ""))?;
    }
    conf.push_str("}\n}\n");
    Ok(conf)
}

/// One `location` block.
fn location(n: usize, route: &Route, site: &Site<'_>, home: &Path) -> Fallible<String> {
    let (mut headers, mut own_type) = (String::new(), String::new());
    let (layer, config) = (image::layer_digest()?, image::config_digest()?);
    let sizes = (image::layer()?.len().to_string(), image::configuration_size()?.to_string());
    let filled = |text: &str| {
        let text = text.replace("@layer@", &layer).replace("@config@", &config);
        text.replace("@layer-size@", &sizes.0).replace("@config-size@", &sizes.1)
    };
    let body = filled(&route.body);
    let digest = image::digest(body.as_bytes());
    for (name, value) in &route.headers {
        let value = &value.replace("@body@", &digest);
        // nginx has a type of its own, beside which an added one would be a second.
        if name.eq_ignore_ascii_case("content-type") {
            own_type = format!("default_type {};\n", quoted(value)?);
        } else {
            write!(headers, "add_header {name} {} always; ", quoted(value)?)?;
        }
    }
    headers += &format!("add_header X-Padding {} always; ", "a".repeat(1000)).repeat(route.padding);
    let place = filled(&route.location).replace("@body@", &digest);
    let mut block = format!("location {place} {{\n{own_type}");
    if route.password {
        writeln!(block, "auth_basic pullscope; auth_basic_user_file {}/htpasswd;", home.display())?;
    }
    for (word, value) in [("limit_rate", &route.rate), ("limit_rate_after", &route.rate_after)] {
        if let Some(value) = value {
            writeln!(block, "{word} {value};")?;
        }
    }
    let answer = match (route.token, route.status) {
        (true, _) => format!("default_type application/json; {headers}try_files /{n}.json =500;"),
        (false, Some(status)) if route.body.is_empty() => format!("{headers}return {status};"),
        (false, Some(status)) => format!("{headers}return {status} {};", quoted(&body)?),
        (false, None) => headers,
    };
    if route.token {
        // A file, not a `return`: that one comes before the password is asked for.
        let answer =
            if route.oauth { site.token.replace("\"token\":", "\"unused\":") } else { site.token.to_owned() };
        fs::write(home.join(format!("{n}.json")), answer)?;
        // nginx serves files to GET only, and a token service must take POST as well: the redirect makes it a GET.
        writeln!(block, "root {}; error_page 405 =200 $uri;", home.display())?;
    }
    match &route.method {
        Some(method) => writeln!(block, "if ($request_method = {method}) {{ {answer} }}")?,
        None if route.authorized => writeln!(block, "if ($http_authorization) {{ {answer} }}")?,
        None => writeln!(block, "{answer}")?,
    }
    let is_some_only = route.method.is_some() || route.authorized;
    let answered = route.token || (route.status.is_some() && !is_some_only);
    let upstream = if route.hang { site.blackhole } else { site.behind };
    if let Some(upstream) = upstream
        && !answered
    {
        writeln!(block, "{}", proxy(upstream, route.stands_at.as_deref().unwrap_or_default()))?;
    }
    block.push('}');
    if route.token {
        write!(
            block,
            "\nlocation = /{n}.json {{ internal; root {}; default_type application/json; }}",
            home.display()
        )?;
    }
    Ok(block)
}

fn proxy(behind: SocketAddr, path: &str) -> String {
    format!(
        "proxy_pass http://{behind}{path}; proxy_set_header Host $http_host; proxy_set_header X-Forwarded-Proto $scheme;"
    )
}

/// A string as nginx reads it: in quotes, and without what nginx would take for a variable.
fn quoted(text: &str) -> Fallible<String> {
    if text.contains('$') {
        return Err(format!("nginx would read a variable in {text:?}").into());
    }
    Ok(format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_cannot_leave_its_quotes() {
        assert_eq!(quoted(r#"{"a":"it's"}"#).unwrap(), r#"'{"a":"it\'s"}'"#);
        assert!(quoted("$host").is_err());
    }
}
