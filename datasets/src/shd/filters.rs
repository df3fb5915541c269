//! Checks of a data set's filters, for what the decoders of `hdf5-reader` do not check themselves.

use hdf5_reader::messages::filter_pipeline::{
    FILTER_NBIT, FILTER_SCALEOFFSET, FILTER_SZIP, FilterDescription,
};

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
/// A decoder would overflow, take memory without bound or loop without end.
pub(super) fn check(filters: &[FilterDescription]) -> Result<(), String> {
    if filters.len() > MAX_FILTERS {
        return Err(format!("has {} filters, more than {MAX_FILTERS}", filters.len()));
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
}
