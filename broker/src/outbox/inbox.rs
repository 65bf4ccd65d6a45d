//! What other tasks want of a client: its own task reads it.

use crate::engine::refusal::Refusal;

/// What another task wants of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The socket is broken.
    Lost,
    /// The connection must end for this reason.
    Refuse(Refusal),
    /// The broker is shutting down.
    Stop,
}

/// The notices that a client's task has not read, the most urgent first.
///
/// At most one of each kind, since a second one would ask for what is done already: of two reasons
/// to end the connection the client can be given only one, the first.
#[derive(Debug, Default)]
pub(super) struct Inbox(Vec<Notice>);

impl Inbox {
    /// Adds a notice, unless there is one of its kind.
    pub(super) fn push(&mut self, notice: Notice) {
        let urgency = notice.urgency();
        let place = self.0.partition_point(|known| known.urgency() < urgency);
        if self
            .0
            .get(place)
            .is_none_or(|known| known.urgency() != urgency)
        {
            self.0.insert(place, notice);
        }
    }

    /// Takes the most urgent notice.
    pub(super) fn take(&mut self) -> Option<Notice> {
        (!self.0.is_empty()).then(|| self.0.remove(0))
    }

    /// Whether there is no notice.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Notice {
    /// Returns the place of its kind: a broken socket needs no farewell, and who is refused must
    /// learn that, also while the broker stops.
    fn urgency(&self) -> u8 {
        match self {
            Self::Lost => 0,
            Self::Refuse(_) => 1,
            Self::Stop => 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_kept_once_and_the_most_urgent_is_first() {
        let (slow, silent) = (Refusal::SlowConsumer, Refusal::SecondConnect);
        let mut inbox = Inbox::default();
        for notice in [
            Notice::Stop,
            Notice::Refuse(slow.clone()),
            Notice::Stop,
            Notice::Lost,
            Notice::Refuse(silent.clone()),
            Notice::Lost,
        ] {
            inbox.push(notice);
        }
        let all: Vec<_> = std::iter::from_fn(|| inbox.take()).collect();
        assert_eq!(all, [Notice::Lost, Notice::Refuse(slow), Notice::Stop]);
        assert!(inbox.is_empty());
        inbox.push(Notice::Refuse(silent.clone()));
        assert_eq!(inbox.take(), Some(Notice::Refuse(silent)));
    }
}
