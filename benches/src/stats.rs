//! Medians and percentiles.

/// The value below which `share` (0 to 1) of the sorted samples lie; 0 when there are none.
pub fn percentile(samples: &mut [f64], share: f64) -> f64 {
    samples.sort_by(f64::total_cmp);
    let place = ((samples.len().saturating_sub(1)) as f64 * share).round() as usize;
    samples.get(place).copied().unwrap_or(0.0)
}

/// The middle one.
pub fn median(samples: &mut [f64]) -> f64 {
    percentile(samples, 0.5)
}
