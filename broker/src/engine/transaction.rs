//! The transactions of one session: what they hold until COMMIT, and their limits.

use std::collections::{BTreeSet, HashMap};

use super::message::Message;
use super::refusal::Refusal;
use super::size::{OPEN_TRANSACTIONS, TRANSACTION_BYTES, TRANSACTION_FRAMES};

/// What a transaction holds, in the order of its frames.
#[derive(Clone, Debug, Default)]
pub struct Transaction {
    /// Its number within its session; never reused there.
    pub number: u32,
    /// The messages to be published.
    pub messages: Vec<Message>,
    /// The numbers of the subscriptions for which it holds ACKs and NACKs. Their queues know which
    /// deliveries these settle.
    pub subscriptions: BTreeSet<u32>,
    frames: usize,
    bytes: usize,
    broken: bool,
}

/// The open transactions of a session.
#[derive(Debug, Default)]
pub struct Transactions {
    open: HashMap<Box<str>, Transaction>,
    last: u32,
    bytes: usize,
}

impl Transaction {
    /// Whether one of its SENDs was refused, so that it cannot be committed as a whole.
    pub fn is_broken(&self) -> bool {
        self.broken
    }
}

impl Transactions {
    /// Handles BEGIN.
    ///
    /// # Errors
    /// It is open already, too many are open, or all numbers are used up.
    pub fn begin(&mut self, id: &str) -> Result<(), Refusal> {
        if self.open.contains_key(id) {
            return Err(Refusal::TransactionOpen(id.into()));
        }
        if self.open.len() >= OPEN_TRANSACTIONS {
            return Err(Refusal::TooManyTransactions);
        }
        self.last = self.last.checked_add(1).ok_or(Refusal::NumbersUsedUp)?;
        let transaction = Transaction {
            number: self.last,
            ..Transaction::default()
        };
        self.open.insert(id.into(), transaction);
        Ok(())
    }

    /// Handles COMMIT or ABORT: removes and returns what was held.
    ///
    /// # Errors
    /// It is not open.
    pub fn end(&mut self, id: &str) -> Result<Transaction, Refusal> {
        let ended = self.open.remove(id);
        let transaction = ended.ok_or_else(|| Refusal::TransactionUnknown(id.into()))?;
        self.bytes -= transaction.bytes;
        Ok(transaction)
    }

    /// Holds a SEND. The copy keeps no read buffer alive.
    ///
    /// # Errors
    /// The transaction is not open, or it or all of them hold too much.
    pub fn hold_message(&mut self, id: &str, message: &Message) -> Result<(), Refusal> {
        let bytes = message.held();
        let transaction = self.hold(id, bytes)?;
        transaction.messages.push(message.compact());
        Ok(())
    }

    /// Records that one of its SENDs was refused, so that its COMMIT will be refused too.
    ///
    /// # Errors
    /// The transaction is not open.
    pub fn break_off(&mut self, id: &str) -> Result<(), Refusal> {
        let transaction = self.open.get_mut(id);
        transaction
            .ok_or_else(|| Refusal::TransactionUnknown(id.into()))?
            .broken = true;
        Ok(())
    }

    /// Holds an ACK or NACK for a delivery of a subscription. Returns the transaction's number.
    ///
    /// # Errors
    /// Same as [`Transactions::hold_message`].
    pub fn hold_delivery(&mut self, id: &str, subscription: u32) -> Result<u32, Refusal> {
        let transaction = self.hold(id, 0)?;
        transaction.subscriptions.insert(subscription);
        Ok(transaction.number)
    }

    /// Returns the memory of all held messages, see [`Message::held`].
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns transactions as if this number was the last one used.
    #[cfg(test)]
    fn after(last: u32) -> Self {
        Self {
            last,
            ..Self::default()
        }
    }

    /// Checks that a transaction is open.
    ///
    /// # Errors
    /// It is not.
    pub fn check(&self, id: &str) -> Result<(), Refusal> {
        if self.open.contains_key(id) {
            Ok(())
        } else {
            Err(Refusal::TransactionUnknown(id.into()))
        }
    }

    fn hold(&mut self, id: &str, bytes: usize) -> Result<&mut Transaction, Refusal> {
        let transaction = self
            .open
            .get_mut(id)
            .ok_or_else(|| Refusal::TransactionUnknown(id.into()))?;
        if transaction.frames >= TRANSACTION_FRAMES || self.bytes + bytes > TRANSACTION_BYTES {
            return Err(Refusal::TransactionTooBig);
        }
        transaction.frames += 1;
        transaction.bytes += bytes;
        self.bytes += bytes;
        Ok(transaction)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_has_no_number_twice() {
        let mut transactions = Transactions::after(u32::MAX - 1);
        assert_eq!(transactions.begin("last"), Ok(()));
        assert_eq!(
            transactions.end("last").map(|last| last.number),
            Ok(u32::MAX)
        );
        assert_eq!(transactions.begin("beyond"), Err(Refusal::NumbersUsedUp));
        assert!(transactions.check("beyond").is_err());
    }
}
