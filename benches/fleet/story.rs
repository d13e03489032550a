//! What happens to the fleet, one thing after another.

use std::time::Duration;

use tower_model_routing::BoxError;

use crate::fleet::{Fleet, INSTANCES, Period};

pub(crate) const HOUR: Duration = Duration::from_secs(60 * 60);
pub(crate) const OUTAGE: Duration = Duration::from_secs(10 * 60);
/// The share of the requests that are for a model from the moment on that it is
/// published.
pub(crate) const SHARE_OF_NEW: f64 = 0.1;

/// What the fleet did meanwhile.
pub(crate) struct Story {
    /// All caches are empty when the requests begin.
    pub(crate) deploy: Period,
    pub(crate) steady: Period,
    /// Every fetch fails.
    pub(crate) outage: Period,
    /// From the end of the outage on.
    pub(crate) healing: Period,
    /// How long until every instance had a fresh list again.
    pub(crate) healed_after: Option<Duration>,
    /// A model is published, and requests for it come to all instances at that
    /// moment.
    pub(crate) asked_at_once: Publication,
    /// It is asked for by a share of the traffic only.
    pub(crate) asked: Publication,
    /// It is not asked for.
    pub(crate) unasked: Publication,
    /// Whether every instance ended up with all that was published, and as old
    /// a list as was measured.
    pub(crate) is_consistent: bool,
}

/// A model is published.
pub(crate) struct Publication {
    pub(crate) period: Period,
    /// How long after it each instance had it in its list.
    pub(crate) got_after: Vec<Duration>,
}

impl Story {
    /// Tells it of a fleet whose instances get so many requests a second each.
    pub(crate) async fn tell(
        rate: f64,
        jitter: bool,
        steady_for: Duration,
    ) -> Result<Self, BoxError> {
        let mut fleet = Fleet::new(1, rate, jitter)?;
        let deploy = fleet.run(HOUR, 0.0).await;
        let steady = fleet.run(steady_for, 0.0).await;

        fleet.origin.set_down(true);
        let outage = fleet.run(OUTAGE, 0.0).await;
        fleet.origin.set_down(false);
        let mut is_consistent = fleet.ages_agree();
        let healing = fleet.run(HOUR, 0.0).await;
        let healed_after = fleet.origin.recovered_after();

        let asked_at_once = publish(&mut fleet, true, SHARE_OF_NEW).await;
        let asked = publish(&mut fleet, false, SHARE_OF_NEW).await;
        let unasked = publish(&mut fleet, false, 0.0).await;
        is_consistent &= fleet.ages_agree() && fleet.up_to_date() == INSTANCES;
        Ok(Self {
            deploy,
            steady,
            outage,
            healing,
            healed_after,
            asked_at_once,
            asked,
            unasked,
            is_consistent,
        })
    }
}

impl Publication {
    /// How long until this share of the instances had it.
    pub(crate) fn reached(&self, share: f64) -> Option<Duration> {
        let count = (share * INSTANCES as f64).ceil() as usize;
        // They are in the order of time.
        self.got_after.get(count.checked_sub(1)?).copied()
    }
}

async fn publish(fleet: &mut Fleet, ask_everywhere: bool, share: f64) -> Publication {
    fleet.origin.publish();
    if ask_everywhere {
        fleet.ask_everywhere_for_newest();
    }
    let period = fleet.run(HOUR, share).await;
    Publication {
        period,
        got_after: fleet.origin.got_newest(),
    }
}
