//! Which of an index's images containerd takes for this node.

use std::fmt;

/// An operating system and processor, in the words of image indexes (OCI image-spec 1.1, "platform").
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`, `arm64`, `s390x`.
    pub architecture: String,
    /// `v7`; empty where there is none, and where it says no more than the architecture does.
    pub variant: String,
}

// === impl Platform ===

impl Platform {
    /// A platform as written, with its other spellings brought to one (containerd's `platforms.Normalize`, 1.6 to 2.1).
    pub fn new(os: &str, architecture: &str, variant: &str) -> Platform {
        let (os, architecture) = (os.to_ascii_lowercase(), architecture.to_ascii_lowercase());
        let variant = variant.to_ascii_lowercase();
        let os = if os == "macos" { "darwin".to_owned() } else { os };
        let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
            ("i386" | "386", _) => ("386", ""),
            ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
            ("x86_64" | "x86-64" | "amd64", other) => ("amd64", other),
            ("aarch64" | "arm64", "8" | "v8" | "v8.0") => ("arm64", ""),
            ("aarch64" | "arm64", "9" | "9.0" | "v9.0") => ("arm64", "v9"),
            ("aarch64" | "arm64", other) => ("arm64", other),
            ("armhf", _) => ("arm", "v7"),
            ("armel", _) => ("arm", "v6"),
            ("arm", "" | "7") => ("arm", "v7"),
            ("arm", "5") => ("arm", "v5"),
            ("arm", "6") => ("arm", "v6"),
            ("arm", "8") => ("arm", "v8"),
            (other, variant) => (other, variant),
        };
        Platform { architecture: architecture.to_owned(), variant: variant.to_owned(), os }
    }

    /// This node's, from Rust's names (`std::env::consts`). A variant of `arm` is not told there: v7 is what every
    /// 32-bit node of today is.
    pub fn of_node(os: &str, architecture: &str) -> Platform {
        let architecture = match architecture {
            "x86" => "386",
            // Kubernetes runs on the little-endian kinds only.
            "powerpc64" => "ppc64le",
            "mips64" => "mips64le",
            "loongarch64" => "loong64",
            other => other,
        };
        Platform::new(os, architecture, "")
    }

    /// How well an image for `offered` suits this node, 0 being best; `None`: no containerd takes it (the vector of its
    /// `platforms.Only`: an older arm for a newer one, arm for arm64, 386 for amd64; measured on amd64 with 1.6.20 and
    /// 1.7.24, of which 2.1.9 leaves out the 386).
    pub fn rank(&self, offered: &Platform) -> Option<usize> {
        if offered.os != self.os {
            return None;
        }
        if offered == self {
            return Some(0);
        }
        // Every step down costs one.
        let after = |of: Option<usize>| of.map(|rank| rank + 1);
        match (self.architecture.as_str(), offered.architecture.as_str()) {
            ("amd64", "amd64") => {
                let (own, other) = (level(&self.variant).unwrap_or(1), level(&offered.variant).unwrap_or(1));
                own.checked_sub(other)
            }
            ("amd64", "386") => Some(level(&self.variant).unwrap_or(1).max(1)),
            ("arm", "arm") => level(&self.variant)?.checked_sub(level(&offered.variant).filter(|v| *v >= 5)?),
            ("arm64", "arm64") => offered.variant.is_empty().then_some(1),
            ("arm64", "arm") => after(Platform::new(&self.os, "arm", "v8").rank(offered)),
            _ => None,
        }
    }
}

/// `linux/arm/v7`.
impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() { Ok(()) } else { write!(f, "/{}", self.variant) }
    }
}

fn level(variant: &str) -> Option<usize> {
    variant.strip_prefix('v')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Platform {
        let mut parts = text.split('/');
        let mut next = || parts.next().unwrap_or_default();
        Platform::new(next(), next(), next())
    }

    /// `expect`: what containerd takes of `offered`, best first.
    fn check(node: &str, offered: &[&str], expect: &[&str]) {
        let node = read(node);
        let mut taken: Vec<(usize, &str)> =
            offered.iter().filter_map(|text| Some((node.rank(&read(text))?, *text))).collect();
        taken.sort();
        assert_eq!(taken.iter().map(|(_, text)| *text).collect::<Vec<_>>(), expect, "{node}");
    }

    const ALL: [&str; 10] = [
        "linux/386",
        "linux/amd64",
        "linux/amd64/v2",
        "linux/arm/v5",
        "linux/arm/v6",
        "linux/arm/v7",
        "linux/arm64/v8",
        "linux/s390x",
        "windows/amd64",
        "unknown/unknown",
    ];

    #[test]
    fn a_node_takes_its_own_and_what_its_processor_also_runs() {
        check("linux/amd64", &ALL, &["linux/amd64", "linux/386"]);
        check("linux/amd64/v3", &ALL, &["linux/amd64/v2", "linux/amd64", "linux/386"]);
        check("linux/arm64", &ALL, &["linux/arm64/v8", "linux/arm/v7", "linux/arm/v6", "linux/arm/v5"]);
        check("linux/arm/v7", &ALL, &["linux/arm/v7", "linux/arm/v6", "linux/arm/v5"]);
        check("linux/arm/v6", &ALL, &["linux/arm/v6", "linux/arm/v5"]);
        check("linux/s390x", &ALL, &["linux/s390x"]);
        check("linux/riscv64", &ALL, &[]);
    }

    #[test]
    fn a_variant_that_says_nothing_is_none() {
        check("linux/arm64", &["linux/arm64", "linux/aarch64/8"], &["linux/aarch64/8", "linux/arm64"]);
        check("linux/arm", &["linux/arm", "linux/arm/v8"], &["linux/arm"]);
        check("linux/amd64", &["Linux/x86_64/v1"], &["Linux/x86_64/v1"]);
    }

    #[test]
    fn rusts_names_are_made_gos() {
        for (arch, expect) in [
            ("x86_64", "linux/amd64"),
            ("aarch64", "linux/arm64"),
            ("arm", "linux/arm/v7"),
            ("powerpc64", "linux/ppc64le"),
            ("s390x", "linux/s390x"),
            ("riscv64", "linux/riscv64"),
        ] {
            assert_eq!(Platform::of_node("linux", arch).to_string(), expect);
        }
    }
}
