//! Tables of text: their delimiters and lines.

/// The most frequent of comma, semicolon and tab in the first line, outside quotation marks.
pub(crate) fn delimiter(text: &[u8]) -> u8 {
    let is_end = |byte: &u8| b"\r\n".contains(byte);
    let header = text.trim_ascii_start().split(is_end).next().unwrap_or_default();
    let mut counts = [(0, b','), (0, b';'), (0, b'\t')];
    let mut quoted = false;
    for byte in header {
        quoted ^= *byte == b'"';
        let count = counts.iter_mut().find(|(_, delimiter)| delimiter == byte && !quoted);
        count.into_iter().for_each(|(count, _)| *count += 1);
    }
    counts.into_iter().rev().max_by_key(|(count, _)| *count).map_or(b',', |(_, byte)| byte)
}

/// The lines of a table in which its records begin.
pub(crate) struct Lines<'a> {
    text: &'a [u8],
    at: usize,
    line: usize,
}

impl<'a> Lines<'a> {
    /// The text begins in the line with this number.
    pub(crate) fn new(text: &'a [u8], line: usize) -> Self {
        Self { text, at: 0, line }
    }

    /// The line of the next record, which `csv` finds at this byte, before blank lines.
    pub(crate) fn of(&mut self, record: usize) -> usize {
        let record = record.clamp(self.at, self.text.len());
        let blank = self.text[record..].iter().take_while(|byte| b"\r\n".contains(byte)).count();
        self.line += count(&self.text[self.at..record + blank]);
        self.at = record + blank;
        self.line
    }
}

/// The number of ends of lines.
pub(crate) fn count(text: &[u8]) -> usize {
    text.iter().filter(|&&byte| byte == b'\n').count()
}
