//! What was measured, as a table of Markdown.

use std::fmt;

use crate::stats::{median, percentile};

/// Samples of several subjects that did the same work.
#[derive(Debug)]
pub struct Table {
    title: String,
    digits: usize,
    subjects: Vec<(String, Vec<f64>)>,
}

impl Table {
    /// Nothing measured yet. The title says what was done and in which unit the figures are.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), digits: 3, subjects: Vec::new() }
    }

    /// The same with so many digits after the point.
    pub fn with_digits(self, digits: usize) -> Self {
        Self { digits, ..self }
    }

    /// One more sample of a subject. Ratios are to the subject that was named first.
    pub fn add(&mut self, subject: &str, sample: f64) {
        match self.subjects.iter_mut().find(|(name, _)| name == subject) {
            Some((_, samples)) => samples.push(sample),
            None => self.subjects.push((subject.to_owned(), vec![sample])),
        }
    }

    /// The median of a subject, if it has samples.
    pub fn median(&self, subject: &str) -> Option<f64> {
        let (_, samples) = self.subjects.iter().find(|(name, _)| name == subject)?;
        Some(median(&mut samples.clone()))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((base, samples)) = self.subjects.first() else {
            return writeln!(f, "\n{}: nothing was measured", self.title);
        };
        let (base, base_median, digits) = (base, median(&mut samples.clone()), self.digits);
        writeln!(f, "\n{}\n\n| | median (least–most) | ratio to {base} |\n|---|---|---|", self.title)?;
        for (name, samples) in &self.subjects {
            let mut samples = samples.clone();
            let (least, most) = (percentile(&mut samples, 0.0), percentile(&mut samples, 1.0));
            let middle = median(&mut samples);
            let ratio = middle / base_median;
            writeln!(f, "| {name} | {middle:.digits$} ({least:.digits$}–{most:.digits$}) | {ratio:.2} |")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn ratios_are_to_the_subject_named_first() {
        let mut table = Table::new("what it took, s").with_digits(1);
        for (name, sample) in [("peer", 2.0), ("ours", 1.0), ("peer", 4.0), ("ours", 3.0), ("peer", 3.0)] {
            table.add(name, sample);
        }
        let printed = table.to_string();
        assert!(printed.contains("what it took, s"), "{printed}");
        assert!(printed.contains("| peer | 3.0 (2.0–4.0) | 1.00 |"), "{printed}");
        assert!(printed.contains("| ours | 3.0 (1.0–3.0) | 1.00 |"), "{printed}");
        assert_eq!((table.median("peer"), table.median("nobody")), (Some(3.0), None));
    }
}
