//! Measurements of several subjects, interleaved in rounds.
//!
//! A machine changes its clock while a benchmark runs. So each round measures every subject for a
//! moment, in a random order, and ratios are taken within a round.

use std::array;

use fastrand::Rng;

/// One value per subject and round.
pub struct Rounds<const SUBJECTS: usize>(Vec<[f64; SUBJECTS]>);

impl<const SUBJECTS: usize> Rounds<SUBJECTS> {
    /// Measures each subject once per round.
    pub fn measure(count: usize, mut measure: impl FnMut(usize) -> f64) -> Self {
        let mut rng = Rng::with_seed(0x726f_756e_6473);
        let round = |_| {
            let mut order: [usize; SUBJECTS] = array::from_fn(|subject| subject);
            rng.shuffle(&mut order);
            let mut values = [0.0; SUBJECTS];
            for subject in order {
                values[subject] = measure(subject);
            }
            values
        };
        Self((0..count).map(round).collect())
    }

    /// Returns the median over the rounds.
    pub fn median(&self, of: impl Fn(&[f64; SUBJECTS]) -> f64) -> f64 {
        quantile(self.0.iter().map(of), 0.5)
    }
}

/// Returns the value that this share of all values is below; 0 if there are none.
pub fn quantile(values: impl IntoIterator<Item = f64>, share: f64) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let index = (values.len() as f64 * share) as usize;
    let last = values.len().saturating_sub(1);
    values.get(index.min(last)).copied().unwrap_or_default()
}
