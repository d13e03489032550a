//! The events of the fleet, one after the other.

use std::time::Duration;

use tower_model_routing::BoxError;

use crate::fleet::{Fleet, INSTANCES, Period};

pub(crate) const HOUR: Duration = Duration::from_secs(60 * 60);
pub(crate) const OUTAGE: Duration = Duration::from_secs(10 * 60);
/// The share of the requests that name a model from the moment on that it is published.
const SHARE_OF_NEW: f64 = 0.1;

/// The fleet during each event.
pub(crate) struct Scenario {
    /// It begins with empty caches.
    pub(crate) deploy: Period,
    pub(crate) steady: Period,
    /// Every fetch fails.
    pub(crate) outage: Period,
    /// From the end of the outage on.
    pub(crate) recovery: Period,
    /// The time until every instance had a fresh catalog again.
    pub(crate) recovered_after: Option<Duration>,
    /// A model is published, and requests that name it reach all instances at that moment.
    pub(crate) requested_at_once: Publication,
    /// A share of the requests name it.
    pub(crate) requested: Publication,
    /// No request names it.
    pub(crate) not_requested: Publication,
    /// Whether every instance ended up with all models, and ages were those measured here.
    pub(crate) is_consistent: bool,
}

/// The publication of a model.
pub(crate) struct Publication {
    pub(crate) period: Period,
    /// The time until each instance had it.
    pub(crate) found_after: Vec<Duration>,
}

impl Scenario {
    /// Runs it with this rate of requests per instance.
    pub(crate) async fn run(
        rate: f64,
        jitter: bool,
        steady_time: Duration,
    ) -> Result<Self, BoxError> {
        let mut fleet = Fleet::new(rate, jitter)?;
        let deploy = fleet.run(HOUR, 0.0).await;
        let steady = fleet.run(steady_time, 0.0).await;

        fleet.origin.set_down(true);
        let outage = fleet.run(OUTAGE, 0.0).await;
        fleet.origin.set_down(false);
        let mut is_consistent = fleet.ages_agree();
        let recovery = fleet.run(HOUR, 0.0).await;
        let recovered_after = fleet.origin.recovered_after();

        let requested_at_once = publish(&mut fleet, true, SHARE_OF_NEW).await;
        let requested = publish(&mut fleet, false, SHARE_OF_NEW).await;
        let not_requested = publish(&mut fleet, false, 0.0).await;
        is_consistent &= fleet.ages_agree() && fleet.up_to_date() == INSTANCES;
        Ok(Self {
            deploy,
            steady,
            outage,
            recovery,
            recovered_after,
            requested_at_once,
            requested,
            not_requested,
            is_consistent,
        })
    }

    pub(crate) fn publications(&self) -> [(&'static str, &Publication); 3] {
        [
            ("requested at once everywhere", &self.requested_at_once),
            ("in a tenth of the requests", &self.requested),
            ("not requested", &self.not_requested),
        ]
    }
}

impl Publication {
    /// Returns the time until this share of the instances had the model.
    pub(crate) fn reached(&self, share: f64) -> Option<Duration> {
        let count = (share * INSTANCES as f64).ceil() as usize;
        // They are in the order of time.
        self.found_after.get(count.checked_sub(1)?).copied()
    }
}

async fn publish(fleet: &mut Fleet, everywhere: bool, share: f64) -> Publication {
    fleet.origin.publish();
    if everywhere {
        fleet.request_newest_everywhere();
    }
    let period = fleet.run(HOUR, share).await;
    Publication {
        period,
        found_after: fleet.origin.found_newest(),
    }
}
