//! What a file says about utterances beside their spikes.

use super::container::File;
use super::values::Number;
use crate::{About, Error, Part};

impl File<'_> {
    /// The speakers of `n` utterances, 0 if the file does not name them, and what else is known.
    pub(super) fn about(&self, n: usize) -> Result<(Vec<u16>, About), Error> {
        let known = self.has("extra/speaker")?;
        let (numbers, speakers) = if known { self.speakers(n)? } else { (vec![0; n], Vec::new()) };
        // Other programs may mean something else by it.
        let names = self.rows_of_text("extra/name", n).unwrap_or_default();
        let path = "extra/part";
        let part = |(i, name): (usize, &String)| {
            Part::of(name).ok_or_else(|| {
                let problem = "is not train, valid or test; rename it, or remove extra/part";
                Error::value(self.source, format!("{path}[{i}]"), name, problem)
            })
        };
        let parts = self.rows_of_text(path, n)?;
        let parts = parts.iter().enumerate().map(part).collect::<Result<_, _>>()?;
        let encoder = self.texts("extra/encoder")?.into_iter().next().unwrap_or_default();
        Ok((numbers, About { names, parts, speakers, encoder, step_ms: self.step_ms()? }))
    }

    /// The length of the steps of a raster, if the file was one.
    fn step_ms(&self) -> Result<Option<f64>, Error> {
        let path = "extra/step_ms";
        if !self.has(path)? {
            return Ok(None);
        }
        let set = self.dataset(path)?;
        let Some(number) = Number::of(set.dtype()) else {
            return Err(self.type_error(&set, path, "a number"));
        };
        self.check_len(path, self.one_dimensional(&set, path)? as usize, 1)?;
        let raw = set.read_raw_bytes().map_err(|e| self.format(e))?;
        let step = raw.get(..number.size).map(|bytes| number.float(bytes));
        match step.filter(|step| *step > 0.0 && step.is_finite()) {
            Some(step) => Ok(Some(step)),
            None => Err(self.format(format!("{path} is not the length of a step in ms"))),
        }
    }

    fn rows_of_text(&self, path: &'static str, n: usize) -> Result<Vec<String>, Error> {
        let texts = self.texts(path)?;
        if self.has(path)? {
            self.check_len(path, texts.len(), n)?;
        }
        Ok(texts)
    }
}
