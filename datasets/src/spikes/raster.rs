//! Rasters `[items, steps, channels]`: a number of spikes for each.

use std::io::Read;

use super::archive::damaged;
use super::npy::{Header, Value};
use super::npz::{Arrays, format_shape, refused};
use crate::recording::MAX_SECONDS;
use crate::shd::{Options, TimeUnit};
use crate::{Error, Recordings};

/// Values that are decoded at a time.
const BLOCK: usize = 1 << 13;

impl Arrays<'_> {
    /// The spikes of a raster, which `reader` reads. Step `s` begins at `s` times the length of a
    /// step.
    pub(super) fn raster(
        &self,
        name: &str,
        header: &Header,
        reader: &mut impl Read,
        options: &Options,
    ) -> Result<Recordings, Error> {
        let source = self.source;
        let format = |reason: String| Error::format(source, format!("{name} {reason}"));
        let number = match &header.fields[0].value {
            Value::Number(number) => *number,
            Value::Other(kind) => return Err(format(refused(kind))),
            _ => return Err(format("holds text, not numbers of spikes".into())),
        };
        let [n, steps, channels] = header.shape[..] else {
            return Err(format(format_shape(&header.shape, "not [items, steps, channels]")));
        };
        if let Some(labels) = self.labels(options)?.filter(|&labels| labels != n) {
            let problem = format!(
                "but there are {labels} labels; a raster is [items, steps, channels]: \
                 np.moveaxis changes the order"
            );
            return Err(format(format_shape(&header.shape, &problem)));
        }
        let options = self.channels(Some(channels), *options)?;
        let seconds = self.step_ms(name, &options)? / 1000.0;
        if steps as f64 * seconds > f64::from(MAX_SECONDS) {
            let problem = format!("is too long for {steps} steps; it is in ms");
            return Err(Error::value(source, "dt_ms", 1000.0 * seconds, problem));
        }
        let count = header.count().ok_or_else(|| format("is too large".into()))?;
        let place = |at: usize| match header.fortran {
            true => (at % n, at / n % steps, at / n / steps),
            false => (at / channels / steps, at / channels % steps, at % channels),
        };
        // A spike takes bytes of the file, and more of memory.
        let most = self.room / 4;
        let (mut times, mut units, mut items) = (Vec::new(), Vec::new(), Vec::new());
        let mut block = vec![0; BLOCK * number.size];
        let mut at = 0;
        while at < count {
            let values = &mut block[..(count - at).min(BLOCK) * number.size];
            reader.read_exact(values).map_err(|e| damaged(source, e.into()))?;
            for value in values.chunks_exact(number.size) {
                if value.iter().any(|&byte| byte != 0) {
                    let (item, step, channel) = place(at);
                    let whole = number.whole(value);
                    let spikes = whole.as_ref().ok().and_then(|&x| usize::try_from(x).ok());
                    let spikes = spikes.ok_or_else(|| {
                        let value = whole.map_or_else(|x| x, |x| x.to_string());
                        let place = format!("{name}[{item}, {step}, {channel}]");
                        Error::value(source, place, value, "is not a number of spikes")
                    })?;
                    if spikes > most - times.len() {
                        return Err(format(format!("has more than {most} spikes")));
                    }
                    let more = times.len() + spikes;
                    times.resize(more, step as f64 * seconds);
                    units.resize(more, channel as u16);
                    items.resize(more, item);
                }
                at += 1;
            }
        }
        let counted = Options { time_unit: TimeUnit::Seconds, first_unit: 0, ..options };
        let mut read = self.table(n, times, units, items, &counted)?;
        read.about.step_ms = Some(1000.0 * seconds);
        Ok(read)
    }
}
