//! Every measurement, one after the other, each at the same part of its default size.

use clap::Args;

use crate::{
    BenchError, attribution, fanout, figures::Figure, hop, idle, ingest, neighbours, outage, pages, payouts, redirect,
    report, resume, startup,
};

#[derive(Args)]
pub struct Options {
    /// Which part of the default size: rows, sockets, and seconds down to a few.
    #[arg(long, default_value_t = 0.25, value_parser = scale)]
    pub scale: f64,
}

fn scale(text: &str) -> Result<f64, String> {
    let scale: f64 = text.parse().map_err(|_| "a number such as 0.25".to_owned())?;
    if scale > 0.0 && scale.is_finite() { Ok(scale) } else { Err("more than nothing".to_owned()) }
}

/// Options of a measurement that can be made smaller.
pub trait Scaled {
    /// Lowers amounts to a part of what they are; raises them where it is more than one.
    fn scale(&mut self, scale: f64);
}

/// An amount, of which so many stay as say something at all.
pub fn scaled(amount: usize, scale: f64) -> usize {
    ((amount as f64 * scale).round() as usize).max(amount.min(1_000))
}

/// The same of seconds.
pub fn shortened(seconds: u64, scale: f64) -> u64 {
    ((seconds as f64 * scale).round() as u64).max(seconds.min(5))
}

/// What all of them came to: one that fails does not keep the others from being measured.
#[derive(Default)]
pub struct Outcome {
    pub figures: Vec<Figure>,
    /// Measurements that failed, and why.
    pub failed: Vec<(&'static str, String)>,
}

impl Outcome {
    /// Of one measurement.
    pub fn of(name: &'static str, measured: Result<Vec<Figure>, BenchError>) -> Self {
        let mut outcome = Self::default();
        outcome.add(name, measured);
        outcome
    }

    fn add(&mut self, name: &'static str, measured: Result<Vec<Figure>, BenchError>) {
        match measured {
            Ok(figures) => self.figures.extend(figures),
            Err(error) => self.failed.push((name, error.to_string())),
        }
    }

    async fn measure<T, R>(&mut self, name: &'static str, scale: f64, run: R)
    where
        T: Args + Scaled,
        R: AsyncFnOnce(T) -> Result<Vec<Figure>, BenchError>,
    {
        println!("\n# {name}");
        let measured = match defaults::<T>() {
            Ok(mut options) => {
                options.scale(scale);
                run(options).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = &measured {
            println!("failed: {error}");
        }
        self.add(name, measured);
    }
}

/// The options of a measurement that is given none.
fn defaults<T: Args>() -> Result<T, BenchError> {
    let command = T::augment_args(clap::Command::new("defaults"));
    let read = command.try_get_matches_from(["defaults"]).and_then(|matches| T::from_arg_matches(&matches));
    read.map_err(|error| BenchError::Failed(error.to_string()))
}

/// Runs them all: those first that are told from a machine at rest, those last that leave it with much to write.
pub async fn run(options: &Options) -> Outcome {
    let scale = options.scale;
    let mut all = Outcome::default();
    all.measure("startup", scale, async |options: startup::Options| startup::run(&options).await).await;
    all.measure("ingest", scale, async |options: ingest::Options| ingest::run(&options).await).await;
    all.measure("ingest", scale, async |options: ingest::Options| ingest::run(&options.on_embedded()).await).await;
    all.measure("neighbours", scale, async |options: neighbours::Options| neighbours::run(&options).await).await;
    all.measure("redirect", scale, async |options: redirect::Options| redirect::run(&options).await).await;
    all.measure("resume", scale, async |options: resume::Options| resume::run(&options).await).await;
    all.measure("fanout", scale, async |options: fanout::Options| fanout::run(&options).await).await;
    all.measure("hop", scale, async |options: hop::Options| hop::run(&options).await).await;
    all.measure("idle", scale, async |options: idle::Options| idle::run(&options).await).await;
    all.measure("pages", scale, async |options: pages::Options| pages::run(&options).await).await;
    all.measure("report", scale, async |options: report::Options| report::run(&options).await).await;
    all.measure("attribution", scale, async |options: attribution::Options| attribution::run(&options).await).await;
    all.measure("payouts", scale, async |options: payouts::Options| payouts::run(&options).await).await;
    all.measure("outage", scale, async |options: outage::Options| outage::run(&options).await).await;
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_and_seconds_keep_enough_to_tell_something() {
        assert_eq!(scaled(1_000_000, 0.25), 250_000);
        assert_eq!(scaled(1_000_000, 1.0), 1_000_000);
        assert_eq!(scaled(5_000, 0.01), 1_000);
        assert_eq!(scaled(200, 0.01), 200);
        assert_eq!(shortened(30, 0.5), 15);
        assert_eq!(shortened(10, 0.1), 5);
        assert_eq!(shortened(0, 0.1), 0);
    }

    #[test]
    fn every_measurement_has_options_by_default() {
        assert!(defaults::<attribution::Options>().is_ok());
        assert!(defaults::<fanout::Options>().is_ok());
        assert!(defaults::<hop::Options>().is_ok());
        assert!(defaults::<idle::Options>().is_ok());
        assert!(defaults::<ingest::Options>().is_ok());
        assert!(defaults::<neighbours::Options>().is_ok());
        assert!(defaults::<outage::Options>().is_ok());
        assert!(defaults::<pages::Options>().is_ok());
        assert!(defaults::<payouts::Options>().is_ok());
        assert!(defaults::<redirect::Options>().is_ok());
        assert!(defaults::<report::Options>().is_ok());
        assert!(defaults::<resume::Options>().is_ok());
        assert!(defaults::<startup::Options>().is_ok());
    }

    #[test]
    fn failures_are_told_beside_what_was_measured() {
        let mut outcome = Outcome::of("idle", Ok(vec![Figure::new("idle", "memory", 9.3, "kiB")]));
        outcome.add("pages", Err(BenchError::Failed("no page".to_owned())));
        assert_eq!(outcome.figures.len(), 1);
        assert_eq!(outcome.failed, [("pages", "no page".to_owned())]);
    }

    #[test]
    fn scale_is_a_part_of_something() {
        assert_eq!(scale("0.5"), Ok(0.5));
        for refused in ["0", "-1", "much", "inf", "NaN"] {
            assert!(scale(refused).is_err(), "{refused}");
        }
    }
}
