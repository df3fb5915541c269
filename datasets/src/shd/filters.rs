//! Checks of a data set's filters, for what the decoders of `hdf5-reader` do not check themselves.

use hdf5_reader::FilterRegistry;
use hdf5_reader::error::Error;
use hdf5_reader::filters::{FILTER_DEFLATE, FILTER_FLETCHER32, FILTER_SHUFFLE};
use hdf5_reader::messages::filter_pipeline::{
    FILTER_NBIT, FILTER_SCALEOFFSET, FILTER_SZIP, FilterDescription,
};

/// h5py's own filter.
const LZF: u16 = 32000;
const READ: [u16; 7] = [
    FILTER_DEFLATE,
    FILTER_SHUFFLE,
    FILTER_FLETCHER32,
    FILTER_SZIP,
    FILTER_NBIT,
    FILTER_SCALEOFFSET,
    LZF,
];
/// Filters that are registered with the HDF Group, and are not read.
const NAMES: [(u16, &str); 15] = [
    (305, "lzo"),
    (307, "bzip2"),
    (32001, "blosc"),
    (32004, "lz4"),
    (32008, "bitshuffle"),
    (32013, "zfp"),
    (32014, "fpzip"),
    (32015, "zstd"),
    (32017, "sz"),
    (32018, "fcidecomp"),
    (32019, "jpeg"),
    (32022, "granular bitround"),
    (32024, "sz3"),
    (32025, "delta rice"),
    (32026, "blosc2"),
];

/// The format's own limit. The decoder shifts a 32-bit mask by the index of a filter.
const MAX_FILTERS: usize = 32;
/// Classes of an N-bit parameter list: one number, and bytes that are stored as they are. The
/// others describe arrays and records, which no data set of the layout holds.
const NBIT_CLASSES: [u32; 2] = [1, 4];
/// Values of the layout have at most 8 bytes.
const MAX_SIZE: u32 = 8;
/// A code word of SZIP can stand for samples up to 12, which need 4 bits.
const MIN_SZIP_BITS: u32 = 4;

/// Checks the filters of a data set.
///
/// # Errors
/// No decoder is there, or it would overflow, take memory without bound or loop without end.
pub(super) fn check(filters: &[FilterDescription]) -> Result<(), String> {
    if filters.len() > MAX_FILTERS {
        return Err(format!("has {} filters, more than {MAX_FILTERS}", filters.len()));
    }
    if let Some(FilterDescription { id, name, .. }) = filters.iter().find(|f| !READ.contains(&f.id))
    {
        let known = NAMES.iter().find(|(known, _)| known == id).map(|(_, name)| *name);
        let name = known.or(name.as_deref()).unwrap_or("a filter without a name");
        return Err(format!(
            "is compressed with {name} (filter {id}), which is not read: \
             h5repack -f GZIP=4 in.h5 out.h5"
        ));
    }
    // The decoder does not bound what a filter beside a foreign one unpacks.
    let passes = [LZF, FILTER_SHUFFLE, FILTER_FLETCHER32];
    if filters.iter().any(|f| f.id == LZF) && filters.iter().any(|f| !passes.contains(&f.id)) {
        return Err("is compressed twice: h5repack -f GZIP=4 in.h5 out.h5".into());
    }
    match filters.iter().find(|filter| !is_safe(filter)) {
        Some(filter) => Err(format!(
            "has a filter with invalid parameters: id {}, parameters {:?}",
            filter.id,
            &filter.client_data[..filter.client_data.len().min(8)]
        )),
        None => Ok(()),
    }
}

fn is_safe(filter: &FilterDescription) -> bool {
    match (filter.id, filter.client_data.as_slice()) {
        // Length, whether the values are stored as they are, their number, class, size.
        (FILTER_NBIT, &[_, 0, _, class, size, ..]) => NBIT_CLASSES.contains(&class) && size > 0,
        // Kind and factor of the scale, number of values, class, size.
        (FILTER_SCALEOFFSET, &[_, _, _, _, size, ..]) => size <= MAX_SIZE,
        // Options, pixels per block, bits per pixel.
        (FILTER_SZIP, &[_, _, bits, ..]) => bits >= MIN_SZIP_BITS,
        _ => true,
    }
}

/// The decoders. A chunk of lzf has at most `most` bytes.
pub(super) fn registry(most: usize) -> FilterRegistry {
    let mut registry = FilterRegistry::new();
    let unpack = move |_: &FilterDescription, packed: &[u8], _: usize| {
        unpack_lzf(packed, most)
            .ok_or_else(|| Error::DecompressionError("a chunk of lzf is damaged".into()))
    };
    registry.register(LZF, Box::new(unpack));
    registry
}

/// Decompresses LZF: a byte below 32 is followed by that many literal bytes and one more; another
/// one has a length in its upper three bits, which the next byte extends if all are set, and with
/// the byte after that the distance to bytes that are repeated. `None` if the bytes are damaged or
/// hold more than `most`.
fn unpack_lzf(packed: &[u8], most: usize) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = packed.iter();
    while let Some(&control) = rest.next() {
        let control = usize::from(control);
        if control < 32 {
            let literal = rest.as_slice().get(..=control)?;
            out.extend_from_slice(literal);
            rest = rest.as_slice()[control + 1..].iter();
        } else {
            let mut length = control >> 5;
            if length == 7 {
                length += usize::from(*rest.next()?);
            }
            let distance = (control & 31) << 8 | usize::from(*rest.next()?);
            let from = out.len().checked_sub(distance + 1)?;
            for at in from..from + length + 2 {
                out.push(out[at]);
            }
        }
        if out.len() > most {
            return None;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(id: u16, client_data: &[u32]) -> FilterDescription {
        FilterDescription { id, name: None, client_data: client_data.to_vec() }
    }

    #[test]
    fn filters_that_a_decoder_cannot_bound_are_refused() {
        // As HDF5 writes them for int32: scale-offset, N-bit of 10 bits, N-bit without effect,
        // SZIP.
        let valid = [
            filter(FILTER_SCALEOFFSET, &[2, 0, 4, 0, 4, 1, 0, 1, 0]),
            filter(FILTER_NBIT, &[8, 0, 4, 1, 4, 0, 10, 3]),
            filter(FILTER_NBIT, &[3, 1, 4]),
            filter(FILTER_SZIP, &[141, 4, 32, 4]),
        ];
        for filter in &valid {
            assert_eq!(check(std::slice::from_ref(filter)), Ok(()));
        }
        // A record of 2^32 - 1 members; 2^32 - 1 values of no bytes; a fill value of 4 GiB.
        for bad in [
            filter(FILTER_NBIT, &[7, 0, 4, 3, 4, u32::MAX, 0]),
            filter(FILTER_NBIT, &[5, 0, u32::MAX, 4, 0]),
            filter(FILTER_SCALEOFFSET, &[2, 0, 0, 0, u32::MAX, 1, 0, 1, 0]),
            filter(FILTER_SZIP, &[141, 4, 1, 4]),
        ] {
            let error = check(&[valid[0].clone(), bad]).unwrap_err();
            assert!(error.starts_with("has a filter with invalid parameters: id "), "{error}");
        }
        assert_eq!(check(&vec![filter(2, &[4]); 32]), Ok(()));
        assert_eq!(check(&vec![filter(2, &[4]); 33]).unwrap_err(), "has 33 filters, more than 32");
    }

    #[test]
    fn a_filter_without_a_decoder_is_named_with_a_remedy() {
        let remedy = "which is not read: h5repack -f GZIP=4 in.h5 out.h5";
        let error = |id| check(&[filter(id, &[])]).unwrap_err();
        assert_eq!(error(32001), format!("is compressed with blosc (filter 32001), {remedy}"));
        assert_eq!(error(32015), format!("is compressed with zstd (filter 32015), {remedy}"));
        let unknown = "a filter without a name";
        assert_eq!(error(500), format!("is compressed with {unknown} (filter 500), {remedy}"));
        let own = FilterDescription { name: Some("mine".into()), ..filter(500, &[]) };
        assert!(check(&[own]).unwrap_err().contains("with mine (filter 500)"));
        assert_eq!(check(&[filter(2, &[4]), filter(LZF, &[]), filter(3, &[])]), Ok(()));
        assert!(check(&[filter(LZF, &[]), filter(1, &[4])]).is_err());
    }

    #[test]
    fn lzf_is_unpacked_within_its_bound() {
        // "ab", then four and ten bytes from one and two before, then "c".
        let packed = [1, b'a', b'b', 0x40, 0, 0xe0, 1, 1, 0, b'c'];
        let unpacked = format!("a{}c", "b".repeat(15)).into_bytes();
        assert_eq!(unpack_lzf(&packed, 100).as_ref(), Some(&unpacked));
        assert_eq!(unpack_lzf(&packed, unpacked.len() - 1), None);
        assert_eq!(unpack_lzf(&[], 0), Some(vec![]));
        for end in 1..packed.len() {
            // Only the ends of code words are whole.
            assert_eq!(
                unpack_lzf(&packed[..end], 100).is_some(),
                [3, 5, 8].contains(&end),
                "{end}"
            );
        }
        assert_eq!(unpack_lzf(&[0, b'a', 0x20, 1], 100), None);
    }
}
