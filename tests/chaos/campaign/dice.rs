//! Chance that can be repeated: a seed and the number of a run give the same draws on every machine.

use std::time::Duration;

/// A generator of the splitmix kind: small, good enough, and the same for ever.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Returns the dice of one run; what other runs have drawn doesn't matter to them.
    pub fn new(seed: u64, run: u64) -> Self {
        let mut dice = Self(seed ^ run.wrapping_mul(0xa076_1d64_78bd_642f));
        dice.next();
        dice
    }

    /// Returns 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `limit`, which isn't 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// Returns whether a thing of this percentage happens.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// Returns one of these.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        let at = self.below(u64::try_from(from.len()).unwrap());
        from[usize::try_from(at).unwrap()]
    }

    /// Returns a time between these two; each order of magnitude is as likely as another.
    pub fn time(&mut self, least: Duration, most: Duration) -> Duration {
        let share = f64::from(u32::try_from(self.below(1 << 20)).unwrap()) / f64::from(1 << 20);
        let (least, most) = (least.as_secs_f64().max(1e-3), most.as_secs_f64());
        Duration::from_secs_f64(least * (most.max(least) / least).powf(share))
    }
}
