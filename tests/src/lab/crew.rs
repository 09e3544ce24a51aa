//! Many hands, and few desks: worlds wait more than they work, but what is timed must not stand in a queue.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Does `work` on each item with so many threads; the results are in the items' order.
pub fn each<T: Send, R: Send>(items: Vec<T>, hands: usize, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let queue = Mutex::new(items.into_iter().enumerate());
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..hands {
            scope.spawn(|| {
                while let Some((n, item)) = next(&queue) {
                    let result = work(item);
                    lock(&done).push((n, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(n, _)| *n);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Not in the loop's condition, which would hold the lock for as long as the work takes.
fn next<I: Iterator>(queue: &Mutex<I>) -> Option<I::Item> {
    lock(queue).next()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Places at which the processor may be worked hard.
#[derive(Debug)]
pub struct Desks {
    free: Mutex<usize>,
    given_back: Condvar,
}

/// A place, given back on drop.
#[derive(Debug)]
pub struct Desk<'a>(&'a Desks);

impl Desks {
    /// So many.
    pub fn new(count: usize) -> Desks {
        Desks { free: Mutex::new(count), given_back: Condvar::new() }
    }

    /// Waits for one.
    pub fn take(&self) -> Desk<'_> {
        let mut free = lock(&self.free);
        while *free == 0 {
            free = self.given_back.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
        *free -= 1;
        Desk(self)
    }
}

impl Drop for Desk<'_> {
    fn drop(&mut self) {
        *lock(&self.0.free) += 1;
        self.0.given_back.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    #[test]
    fn results_are_in_the_items_order() {
        let doubled = each((0..100).collect(), 7, |n: u32| n * 2);
        assert_eq!(doubled, (0..100).map(|n| n * 2).collect::<Vec<_>>());
    }

    #[test]
    fn no_more_work_than_there_are_desks() {
        let (desks, busy) = (Desks::new(2), AtomicUsize::new(0));
        let most = each((0..20).collect(), 8, |_: u32| {
            let _desk = desks.take();
            let now = busy.fetch_add(1, Ordering::SeqCst) + 1;
            thread::sleep(Duration::from_millis(1));
            busy.fetch_sub(1, Ordering::SeqCst);
            now
        });
        assert!(most.iter().all(|&now| now <= 2), "{most:?}");
    }
}
