//! The kubelet's `CredentialProviderConfig` (kubelet.config.k8s.io), checked as the kubelet checks it at its start
//! (pkg/credentialprovider/plugin/config.go, to 1.35).

use std::collections::HashSet;
use std::time::Duration;

use super::problem::{Problem, in_order};
use super::section::{Field, Section, Spot, kind_of};
use super::tree::{self, Kind, Node};
use crate::containerd::credentials::Secret;
use crate::containerd::provider::{Config, Images, Provider, Version, go_duration};

/// The group and the versions of the file.
const GROUP: &str = "kubelet.config.k8s.io/";
const VERSIONS: [&str; 3] = ["v1", "v1beta1", "v1alpha1"];

/// The most plugins: each is asked one after the other within one stage.
const MAX_PROVIDERS: usize = 64;

/// The most items of one list in the file.
const MAX_ITEMS: usize = 1000;

/// Reads the file's text: YAML, or JSON, which is YAML too.
pub(super) fn read(text: &str) -> Result<Config, Vec<Problem>> {
    let root = tree::read(text).map_err(|problem| vec![problem])?;
    let mut problems = Vec::new();
    let Some(root) = root else {
        return Err(vec![Problem::new("", 1, "is empty: a CredentialProviderConfig is expected")]);
    };
    let top = Section::open(Some(&root), "", &["apiVersion", "kind", "providers"], &mut problems);
    let wants = |field: Field<String>, what: &str, is: &dyn Fn(&str) -> bool, problems: &mut Vec<Problem>| {
        if field == Field::Absent {
            problems.push(Problem::new(what, 1, "is missing"));
        }
        field.then(problems, |text| match is(&text) {
            true => Ok(()),
            false => {
                Err(format!("must be {}", if what == "kind" { KIND } else { "kubelet.config.k8s.io/v1" }))
            }
        });
    };
    let is_version = |text: &str| text.strip_prefix(GROUP).is_some_and(|version| VERSIONS.contains(&version));
    wants(top.text("apiVersion", &mut problems), "apiVersion", &is_version, &mut problems);
    wants(top.text("kind", &mut problems), "kind", &|text| text == KIND, &mut problems);
    let mut providers = Vec::new();
    let mut names = HashSet::new();
    for (path, item) in items(&top, "", "providers", MAX_PROVIDERS, &mut problems) {
        let read = provider(item, &path, &mut problems);
        if let Some(provider) = &read
            && !names.insert(provider.name.clone())
        {
            let path = format!("{path}.name");
            problems.push(Problem::new(path, item.line, "is the name of another provider, too"));
        }
        providers.extend(read);
    }
    if problems.is_empty() { Ok(Config { providers }) } else { Err(in_order(problems)) }
}

const KIND: &str = "CredentialProviderConfig";

fn provider(item: &Node, path: &str, problems: &mut Vec<Problem>) -> Option<Provider> {
    let known =
        ["name", "matchImages", "defaultCacheDuration", "apiVersion", "args", "env", "tokenAttributes"];
    let section = Section::open(Some(item), path, &known, problems);
    let spot = |key: &str| Spot { path: format!("{path}.{key}"), line: section.line() };
    let required = |key: &str, problems: &mut Vec<Problem>| {
        let field = section.text(key, problems);
        if field == Field::Absent {
            problems.push(spot(key).problem("is missing"));
        }
        field
    };
    let name = required("name", problems).then(problems, name);
    let version = required("apiVersion", problems).then(problems, |text| {
        let known = Version::ALL.into_iter().find(|version| version.label() == text);
        known.ok_or_else(|| format!("must be {}, or its v1beta1 or v1alpha1", Version::V1))
    });
    let default_cache: Field<Duration> =
        required("defaultCacheDuration", problems).then(problems, |text| match go_duration(&text) {
            Some(_) if text.starts_with('-') => Err("must not be negative".to_owned()),
            Some(duration) => Ok(duration),
            None => Err("is not a duration: write 12h".to_owned()),
        });
    let mut images = Images::default();
    for (path, item) in items(&section, path, "matchImages", MAX_ITEMS, problems) {
        let text = word(item, &path, problems);
        if let Some(Err(what)) = text.map(|text| images.add(text)) {
            problems.push(Problem::new(path, item.line, what));
        }
    }
    let args = optional(&section, path, "args", problems);
    let args: Vec<Secret> =
        args.into_iter().filter_map(|(path, item)| Some(Secret::new(word(item, &path, problems)?))).collect();
    let env = optional(&section, path, "env", problems);
    let env: Vec<(String, Secret)> =
        env.into_iter().filter_map(|(path, item)| variable(item, &path, problems)).collect();
    let wants_token = section.node("tokenAttributes").is_some();
    Some(Provider {
        name: name.given()?,
        version: version.given()?,
        images,
        default_cache: default_cache.given()?,
        args,
        env,
        wants_token,
    })
}

/// A name is a file's in the folder of plugins, and leads nowhere else.
fn name(name: String) -> Result<String, String> {
    match name.as_str() {
        "" => Err("is empty".to_owned()),
        "." | ".." => Err("must be the name of a file".to_owned()),
        _ if name.contains(['/', ' ']) => Err("must not hold `/` or a space".to_owned()),
        _ if name.contains(char::is_control) => Err("holds a control character".to_owned()),
        _ => Ok(name),
    }
}

fn variable(item: &Node, path: &str, problems: &mut Vec<Problem>) -> Option<(String, Secret)> {
    let section = Section::open(Some(item), path, &["name", "value"], problems);
    let name = section.text("name", problems).then(problems, |name| {
        // What no environment can hold would keep the plugin from being started.
        match name.is_empty() || name.contains(['=', '\0']) {
            true => Err("is not the name of a variable".to_owned()),
            false => Ok(name),
        }
    });
    let value = section.text("value", problems).then(problems, |value| match value.contains('\0') {
        true => Err("holds a NUL".to_owned()),
        false => Ok(value),
    });
    if name == Field::Absent {
        problems.push(Problem::new(format!("{path}.name"), section.line(), "is missing"));
    }
    Some((name.given()?, Secret::new(value.or(String::new()))))
}

/// The items of a list that must be there and hold something.
fn items<'a>(
    section: &Section<'a>,
    at: &str,
    key: &str,
    most: usize,
    problems: &mut Vec<Problem>,
) -> Vec<(String, &'a Node)> {
    let path = if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") };
    let Some((node, spot)) = section.node(key) else {
        problems.push(Problem::new(path, section.line(), "is missing"));
        return Vec::new();
    };
    let what = match &node.kind {
        Kind::List(items) if items.is_empty() => "holds nothing: at least one is needed".to_owned(),
        Kind::List(items) if items.len() > most => format!("holds more than {most}"),
        Kind::List(items) => {
            return items
                .iter()
                .enumerate()
                .map(|(index, item)| (format!("{path}[{index}]"), item))
                .collect();
        }
        _ => format!("must be a list, not {}", kind_of(node)),
    };
    problems.push(spot.problem(what));
    Vec::new()
}

/// The items of a list that may be left out or empty.
fn optional<'a>(
    section: &Section<'a>,
    at: &str,
    key: &str,
    problems: &mut Vec<Problem>,
) -> Vec<(String, &'a Node)> {
    match section.node(key) {
        None => Vec::new(),
        Some((node, _)) if matches!(&node.kind, Kind::List(items) if items.is_empty()) => Vec::new(),
        Some(_) => items(section, at, key, MAX_ITEMS, problems),
    }
}

fn word<'a>(item: &'a Node, path: &str, problems: &mut Vec<Problem>) -> Option<&'a str> {
    match &item.kind {
        Kind::Scalar { text, .. } if text.contains('\0') => {
            problems.push(Problem::new(path, item.line, "holds a NUL"));
            None
        }
        Kind::Scalar { text, .. } => Some(text),
        _ => {
            problems.push(Problem::new(path, item.line, format!("must be a text, not {}", kind_of(item))));
            None
        }
    }
}

#[cfg(test)]
#[path = "providers_tests.rs"]
mod tests;
