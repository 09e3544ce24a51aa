//! Who a lease belongs to: a process, told so that a later one on this node can see whether it still runs.

use std::fs;

/// A process, by its PID namespace, its PID in it, and when it began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    namespace: String,
    pid: u32,
    /// Clock ticks since boot (`proc(5)`, field 22 of `stat`): a PID is used again, a PID and its beginning are not.
    born: u64,
}

impl Holder {
    /// This process. Where /proc is not to be read, one that nobody finds alive.
    pub(super) fn this() -> Holder {
        let pid = std::process::id();
        Holder { namespace: namespace(), pid, born: alive(pid).unwrap_or_default() }
    }

    /// As a label's value.
    pub(super) fn label(&self) -> String {
        format!("{} {} {}", self.namespace, self.pid, self.born)
    }

    /// From a label's value.
    pub(super) fn read(label: &str) -> Option<Holder> {
        let mut parts = label.split(' ');
        let (namespace, pid, born) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Holder { namespace: namespace.to_owned(), pid: pid.parse().ok()?, born: born.parse().ok()? })
    }

    /// Whether it still runs; `None` where that is not to be seen from here, as it has another PID namespace.
    pub(super) fn is_alive(&self) -> Option<bool> {
        (self.namespace == namespace()).then(|| alive(self.pid) == Some(self.born))
    }
}

/// `pid:[4026531836]`.
fn namespace() -> String {
    let link = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    link.to_string_lossy().replace(' ', "")
}

/// When the process began, if it runs and is no zombie.
fn alive(pid: u32) -> Option<u64> {
    // The name before is in brackets and may hold anything.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    // Field 22 of the line is the nineteenth after the state.
    fields.nth(18)?.parse().ok().filter(|_| !matches!(state, "Z" | "X"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_and_known_again() {
        let this = Holder::this();
        assert!(this.is_alive() == Some(true) && this.born > 0);
        assert_eq!(Holder::read(&this.label()), Some(this));
    }

    #[test]
    fn another_beginning_or_namespace_is_another_process() {
        let this = Holder::this();
        assert_eq!(Holder { born: this.born + 1, ..this.clone() }.is_alive(), Some(false));
        assert_eq!(Holder { namespace: "pid:[1]".to_owned(), ..this.clone() }.is_alive(), None);
    }

    #[test]
    fn a_process_that_has_ended_is_dead_even_before_it_is_waited_for() {
        let mut child = std::process::Command::new("true").spawn().expect("true is everywhere");
        let born = alive(child.id());
        // The zombie stays until `wait`, however long this takes.
        while alive(child.id()).is_some() {
            std::thread::yield_now();
        }
        let dead = Holder { namespace: namespace(), pid: child.id(), born: born.unwrap_or_default() };
        assert_eq!(dead.is_alive(), Some(false));
        child.wait().expect("it was not waited for");
    }

    #[test]
    fn a_strange_label_names_nobody() {
        for label in ["", "x", "pid:[1] 2", "pid:[1] a b"] {
            assert_eq!(Holder::read(label), None, "{label}");
        }
    }
}
