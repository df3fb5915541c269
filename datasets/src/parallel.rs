use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{Builder, ScopedJoinHandle};

/// Number of utterances that justify another thread.
const WORTH_A_THREAD: usize = 64;

/// The default number of threads for a number of utterances.
pub(crate) fn threads(utterances: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    cores.min(utterances.div_ceil(WORTH_A_THREAD))
}

/// Applies `f` to the index and the value of every item, on `threads` threads. Results are in the
/// order of the items, and of several errors the one of the first item is returned, so the result
/// does not depend on the number of threads.
pub(crate) fn try_map<T: Sync, R: Send, E: Send>(
    items: &[T],
    threads: usize,
    f: impl Fn(usize, &T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let share = items.len().div_ceil(threads.max(1)).max(1);
    let failed = AtomicUsize::new(usize::MAX);
    let work = |part: usize, items: &[T]| {
        let mut results = Vec::with_capacity(items.len());
        for (i, item) in (part * share..).zip(items) {
            if failed.load(Ordering::Relaxed) < i {
                break;
            }
            let result = f(i, item);
            if result.is_err() {
                failed.fetch_min(i, Ordering::Relaxed);
            }
            results.push(result);
        }
        results
    };
    if share >= items.len() {
        return work(0, items).into_iter().collect();
    }
    let parts: Vec<_> = std::thread::scope(|scope| {
        let parts = items.chunks(share).enumerate();
        let handles: Vec<_> = parts
            .map(|(n, part)| {
                let run = move || work(n, part);
                // If no thread can be started, this one does the work.
                Builder::new().spawn_scoped(scope, run).map_err(|_| work(n, part))
            })
            .collect();
        let join = |thread: ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|panic| resume_unwind(panic))
        };
        handles.into_iter().map(|part| part.map_or_else(|done| done, join)).collect()
    });
    parts.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_and_errors_do_not_depend_on_the_threads() {
        let items: Vec<u32> = (0..100).collect();
        for threads in [0, 1, 2, 7, 100, 1000] {
            let doubled = try_map(&items, threads, |_, x| Ok::<_, ()>(2 * x)).unwrap();
            assert_eq!(doubled, (0..100).map(|x| 2 * x).collect::<Vec<_>>());
            let odd = |i, x: &u32| if i % 20 == 13 { Err(*x) } else { Ok(()) };
            assert_eq!(try_map(&items, threads, odd), Err(13));
        }
        assert_eq!(try_map(&[0; 0], 4, |_, _| Err::<(), ()>(())), Ok(vec![]));
    }
}
