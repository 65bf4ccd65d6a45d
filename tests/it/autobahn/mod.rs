//! The cases of the Autobahn test suite, run against the reader and against a broker: what each
//! does is rated as in the suite's reports, and compared with `cases.txt`.
//!
//! Autobahn expects a server that returns each message. The reader is such a server if the
//! messages are put together again here, where their bounds are known. A broker is one for a client
//! that publishes to itself: the messages of a case are the body of a SEND.

mod broker;
mod reader;
mod table;

use self::table::{Case, End, Event, Rating};

/// What a server did in a case.
#[derive(Debug, Default)]
struct Outcome {
    events: Vec<Event>,
    end: Option<End>,
}

impl Outcome {
    /// Its rating by the suite; `None` if it failed.
    fn rating(&self, case: &Case) -> Option<Rating> {
        if self.end != Some(case.end) {
            return None;
        }
        if self.events == case.strict {
            Some(match case.rating {
                Rating::Informational => Rating::Informational,
                _ => Rating::Ok,
            })
        } else {
            let lenient = case.lenient.as_ref() == Some(&self.events);
            lenient.then_some(Rating::NonStrict)
        }
    }
}

#[track_caller]
fn check(case: &Case, outcome: &Outcome) {
    let rating = outcome.rating(case);
    assert_eq!(rating, Some(case.rating), "{}: {outcome:?}", case.id);
}

#[test]
fn no_case_is_missing() {
    let cases = table::cases();
    for (group, expected) in [
        ("1.", 16),
        ("2.", 11),
        ("3.", 7),
        ("4.", 10),
        ("5.", 20),
        ("6.", 145),
        ("7.", 37),
        ("10.", 1),
    ] {
        let count = cases.iter().filter(|case| case.id.starts_with(group));
        assert_eq!(count.count(), expected, "group {group}");
    }
}
