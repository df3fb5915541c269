//! Preparation of items ahead of their use.

use crate::error::Result;
use std::sync::mpsc::sync_channel;

/// Largest number of products that wait for the consumer.
const DEPTH: usize = 2;
/// Largest number of products in memory: one in use, one in preparation and those that wait.
pub(crate) const IN_MEMORY: usize = DEPTH + 2;

/// Calls `consume` with every item and its product `make(item)`, in order, while another thread
/// makes the next products. With one thread, the calls alternate.
///
/// Stops when `consume` returns `false`, or at the first error of either function. Returns `true`
/// if every item was consumed and the last call returned `true`.
pub(crate) fn for_each<T: Sync, M: Send>(
    items: &[T],
    threads: usize,
    make: impl Fn(&T) -> Result<M> + Send,
    mut consume: impl FnMut(&T, M) -> Result<bool>,
) -> Result<bool> {
    let mut consume_all = |made: &mut dyn Iterator<Item = Result<M>>| {
        for (item, made) in items.iter().zip(made) {
            if !consume(item, made?)? {
                return Ok(false);
            }
        }
        Ok(true)
    };
    if threads < 2 {
        return consume_all(&mut items.iter().map(make));
    }
    let (sender, receiver) = sync_channel(DEPTH);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for item in items {
                let made = make(item);
                let failed = made.is_err();
                // Sending fails after the consumer has stopped.
                if sender.send(made).is_err() || failed {
                    break;
                }
            }
        });
        consume_all(&mut receiver.into_iter())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn prefetching_does_not_change_the_products() {
        let items: Vec<usize> = (0..100).collect();
        for threads in [1, 2, 8] {
            let mut taken = Vec::new();
            let take = |item: &usize, made| {
                taken.push((*item, made));
                Ok(true)
            };
            assert!(for_each(&items, threads, |item| Ok(item * item), take).unwrap());
            assert_eq!(taken, items.iter().map(|n| (*n, n * n)).collect::<Vec<_>>());
        }
        assert!(for_each(&[0; 0], 2, |_| Ok(()), |_, ()| panic!("there is no item")).unwrap());
        let mut taken = 0;
        let take = |item: &usize, ()| {
            taken += 1;
            Ok(*item < 7)
        };
        assert!(!for_each(&items, 2, |_| Ok(()), take).unwrap());
        assert_eq!(taken, 8);
    }

    #[test]
    fn the_first_error_stops_producer_and_consumer() {
        let items: Vec<usize> = (0..1000).collect();
        let fail = |item: &usize, at: usize| {
            if *item == at { Err(Error::new(at.to_string())) } else { Ok(()) }
        };
        for threads in [1, 2] {
            for (make_fails, take_fails, taken_before) in
                [(20, 1000, 20), (1000, 20, 20), (21, 20, 20)]
            {
                let (made, mut taken) = (AtomicUsize::new(0), 0);
                let make = |item: &usize| {
                    made.fetch_add(1, Ordering::Relaxed);
                    fail(item, make_fails)
                };
                let take = |item: &usize, ()| {
                    fail(item, take_fails)?;
                    taken += 1;
                    Ok(true)
                };
                let error = for_each(&items, threads, make, take).unwrap_err();
                assert_eq!(error.message(), make_fails.min(take_fails).to_string());
                assert_eq!(taken, taken_before);
                // One product is in use, `DEPTH` are in the channel and one is in the thread.
                let made = made.into_inner();
                assert!(made <= 21 + DEPTH + 1, "{made}");
            }
        }
    }

    #[test]
    #[should_panic(expected = "a scoped thread panicked")]
    fn a_panic_of_the_producer_is_propagated() {
        let _ = for_each(&[0, 1], 2, |_| -> Result<()> { panic!("made badly") }, |_, ()| Ok(true));
    }
}
