//! Questions to STUN servers that wait for their answers.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::stun::{BindingRequest, HEADER_LEN, StunFault, Transaction, parse_response, transaction_id};

/// Most questions that wait at once. A node asks a handful of servers, from a socket of each address family.
pub const MAX_STUN_QUERIES: usize = 64;

/// The questions that wait on one port. Its sink asks it about each STUN message that may be an answer. A clone is the same
/// table.
#[derive(Debug, Clone, Default)]
pub struct StunQueries {
    waiting: Arc<Mutex<HashMap<Transaction, Waiting>>>,
}

#[derive(Debug)]
struct Waiting {
    server: SocketAddr,
    answer: oneshot::Sender<Result<SocketAddr, StunFault>>,
}

/// A question that waits; dropped, it waits no more.
#[derive(Debug)]
pub struct StunQuery {
    queries: StunQueries,
    transaction: Transaction,
    answer: oneshot::Receiver<Result<SocketAddr, StunFault>>,
}

impl StunQueries {
    /// A question to this server, for the caller to send. `transaction` is fresh and random.
    ///
    /// `None` when [`MAX_STUN_QUERIES`] wait, or one with this transaction.
    #[must_use]
    pub fn ask(&self, server: SocketAddr, transaction: Transaction) -> Option<StunQuery> {
        let mut waiting = self.waiting();
        if waiting.len() >= MAX_STUN_QUERIES || waiting.contains_key(&transaction) {
            return None;
        }
        let (sender, answer) = oneshot::channel();
        waiting.insert(transaction, Waiting { server, answer: sender });
        drop(waiting);
        Some(StunQuery { queries: self.clone(), transaction, answer })
    }

    /// Whether this datagram was the answer to one of them. Whoever asked has it then.
    ///
    /// An answer counts only when it comes from the server that was asked.
    #[must_use]
    pub fn answer(&self, from: SocketAddr, datagram: &[u8]) -> bool {
        let Some(transaction) = transaction_id(datagram) else { return false };
        let mut waiting = self.waiting();
        if waiting.get(&transaction).is_none_or(|waiting| waiting.server != from) {
            return false;
        }
        let Some(answer) = parse_response(datagram, &transaction) else { return false };
        let Some(asked) = waiting.remove(&transaction) else { return false };
        drop(waiting);
        // Whoever asked may have stopped waiting just now.
        let _ = asked.answer.send(answer);
        true
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<Transaction, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StunQuery {
    /// The datagram to send, and to send again while no answer comes.
    #[must_use]
    pub fn datagram(&self) -> [u8; HEADER_LEN] {
        BindingRequest::new(self.transaction).encode()
    }

    /// Waits for the answer: our address as the server sees it, or why it told none. As long as that takes.
    ///
    /// Can be dropped and called again. Once it has returned, it is not to be called again.
    ///
    /// # Errors
    /// What is wrong with the answer.
    pub async fn answer(&mut self) -> Result<SocketAddr, StunFault> {
        // The table keeps the other end until it answers, and we keep the table.
        (&mut self.answer).await.unwrap_or(Err(StunFault::NoAddress))
    }
}

impl Drop for StunQuery {
    fn drop(&mut self) {
        self.queries.waiting().remove(&self.transaction);
    }
}

#[cfg(test)]
mod tests {
    use super::super::stun::tests::success;
    use super::*;

    fn server() -> SocketAddr {
        "192.0.2.1:3478".parse().unwrap()
    }

    fn mapped() -> SocketAddr {
        "198.51.100.7:40000".parse().unwrap()
    }

    #[tokio::test]
    async fn an_answer_reaches_the_one_who_asked() {
        let queries = StunQueries::default();
        let mut first = queries.ask(server(), [1; 12]).unwrap();
        let _second = queries.ask(server(), [2; 12]).unwrap();
        assert!(queries.answer(server(), &success(mapped(), &[1; 12])));
        assert_eq!(first.answer().await, Ok(mapped()));
        // It was taken, so a copy is nobody's.
        assert!(!queries.answer(server(), &success(mapped(), &[1; 12])));
    }

    #[tokio::test]
    async fn only_the_server_that_was_asked_can_answer() {
        let queries = StunQueries::default();
        let mut query = queries.ask(server(), [1; 12]).unwrap();
        assert!(!queries.answer("192.0.2.1:3479".parse().unwrap(), &success(mapped(), &[1; 12])));
        assert!(!queries.answer(server(), &success(mapped(), &[3; 12])));
        assert!(!queries.answer(server(), &query.datagram()));
        assert!(queries.answer(server(), &success(mapped(), &[1; 12])));
        assert_eq!(query.answer().await, Ok(mapped()));
    }

    #[test]
    fn questions_are_few_and_leave_when_dropped() {
        let queries = StunQueries::default();
        let ask = |n: usize| queries.ask(server(), [u8::try_from(n).unwrap(); 12]);
        let mut asked: Vec<_> = (0..MAX_STUN_QUERIES).map(|n| ask(n).unwrap()).collect();
        assert!(ask(MAX_STUN_QUERIES).is_none());
        asked.pop();
        assert!(ask(0).is_none());
        assert!(ask(MAX_STUN_QUERIES).is_some());
    }
}
