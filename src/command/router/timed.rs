//! `switchTS`: a state for a relay with the time at which it was asked for. It is meant to be retained, so
//! that a plug that comes back within a minute still does it; here it is done while it is fresh, and what
//! lies on its topic from before is never done.

use meter_protocols::smartmeter::TimedSwitch;

use super::Clerk;
use crate::broker::Received;
use crate::log::shortened;
use crate::model::Timestamp;

impl Clerk<'_> {
    /// A message on `switchTS` of one meter, or of all.
    pub(super) async fn take_timed(&mut self, received: &Received, name: Option<&str>) {
        let timed = match TimedSwitch::read(&received.payload) {
            // What stands where one was.
            Ok(None) => return,
            Ok(Some(timed)) => Ok(timed),
            Err(error) => Err(error),
        };
        let meters = match name.map(|name| (name, self.router.directory.find(name))) {
            None => self.router.directory.all(),
            Some((_, Some(meter))) => vec![meter],
            Some((name, None)) if !received.retained => return self.nobody(name).await,
            Some(_) => return,
        };
        let is_over = timed.as_ref().is_ok_and(|timed| timed.is_over(Timestamp::now().seconds()));
        let mut is_ours = received.retained;
        if received.retained {
            self.tell_left(received);
        } else {
            for meter in &meters {
                if timed.is_ok() && self.hears_itself(meter, name.is_none()) {
                    continue;
                }
                is_ours = true;
                self.desk.switch_in_time(meter, timed.clone()).await;
                tokio::task::yield_now().await;
            }
        }
        // As a meter does with one that is too old. What was taken here for one meter is nobody else's.
        let is_taken = received.to_retain && name.is_some() && timed.is_ok();
        if (received.retained || received.to_retain) && is_ours && (is_over || is_taken) {
            self.router.out.retain(&received.topic, TimedSwitch::OVER).await;
        }
    }

    fn tell_left(&mut self, received: &Received) {
        if let Some(held_back) = self.notices.retained.pass() {
            let topic = shortened(&received.topic);
            tracing::warn!(
                topic,
                held_back,
                "retained switchTS not done: it was published before the gateway listened"
            );
        }
    }
}
