//! What `check.c` cannot see: `cargo +nightly miri test` finds reads of uninitialized memory,
//! overlapping references and misaligned ones.

use super::*;

static FILE: &[u8] = include_bytes!("../../../../core/tests/golden/small.pcn");

/// Uninitialized memory for a network.
#[repr(align(8))]
struct Room([MaybeUninit<u8>; 8192]);

fn open(room: &mut Room, size: usize) -> Result<&mut Network, i32> {
    let mut network = MaybeUninit::uninit();
    let (file, memory) = (FILE.as_ptr(), room.0.as_mut_ptr().cast());
    // SAFETY: FILE and room outlive the network.
    let error = unsafe { polychron_open(file, FILE.len(), memory, size, Some(&mut network)) };
    // SAFETY: polychron_open writes it.
    let network = unsafe { network.assume_init() };
    // SAFETY: NULL or a network in room.
    unsafe { network.as_mut() }.ok_or(error)
}

fn step(network: &mut Network, channels: &[u16]) -> i32 {
    // SAFETY: a slice.
    unsafe { polychron_step(Some(network), channels.as_ptr(), channels.len()) }
}

fn step_values(network: &mut Network, values: &[i8]) -> i32 {
    // SAFETY: a slice.
    unsafe { polychron_step_values(Some(network), values.as_ptr(), values.len()) }
}

#[test]
fn networks_use_the_memory_of_the_caller() {
    // SAFETY: a slice.
    let needed = unsafe { polychron_memory(FILE.as_ptr(), FILE.len()) };
    let mut rooms = [const { Room([MaybeUninit::uninit(); 8192]) }; 2];
    assert!(needed <= size_of::<Room>());
    let [a, b] = &mut rooms;
    assert_eq!(open(a, needed - 1).err(), Some(Error::Memory as i32));
    let (a, b) = (open(a, needed).unwrap(), open(b, needed).unwrap());
    let channels = polychron_channels(Some(a));
    for tick in 0..40 {
        let spikes = [tick % channels as u16, tick * 7 % channels as u16];
        let mut values = [0; 4096];
        spikes.iter().for_each(|&channel| values[usize::from(channel)] = 1);
        assert_eq!(step(a, &spikes), 0);
        assert_eq!(step(a, &[0, channels as u16]), Error::Channel as i32);
        assert_eq!(step_values(b, &values[..channels]), 0);
        assert_eq!(step_values(b, &values[..channels + 1]), Error::Count as i32);
        for class in 0..polychron_classes(Some(a)) {
            assert_eq!(polychron_score(Some(a), class), polychron_score(Some(b), class));
        }
    }
    assert_eq!(polychron_finish(Some(a)), 0);
    assert_eq!(polychron_finish(Some(b)), 0);
    assert_eq!(polychron_decide(Some(a)), polychron_decide(Some(b)));
    assert_eq!(polychron_reset(Some(a)), 0);
    assert_eq!(step(a, &[]), 0);

    let mut length = MaybeUninit::uninit();
    let label = polychron_label(Some(a), 1, Some(&mut length));
    // SAFETY: polychron_label writes it.
    let length = unsafe { length.assume_init() };
    // SAFETY: a label is part of FILE.
    let label = unsafe { slice::from_raw_parts(label.cast::<u8>(), length) };
    assert_eq!(Some(label), a.model().label(1).map(str::as_bytes));
}

#[test]
fn null_is_an_error() {
    let null = Error::Null as i32;
    // SAFETY: nothing but NULL.
    assert_eq!(unsafe { polychron_open(ptr::null(), 9, ptr::null_mut(), 9, None) }, null);
    // SAFETY: as above.
    assert_eq!(unsafe { polychron_step(None, ptr::null(), 0) }, null);
    let mut room = Room([MaybeUninit::uninit(); 8192]);
    let network = open(&mut room, 8192).unwrap();
    // SAFETY: as above.
    assert_eq!(unsafe { polychron_step(Some(network), ptr::null(), 1) }, null);
    // SAFETY: as above.
    assert_eq!(unsafe { polychron_step(Some(network), ptr::null(), 0) }, 0);
    assert_eq!(polychron_label(Some(network), 0, None), ptr::null());
}
