//! The first stream of every connection: one `Hello` each way.
//!
//! The dialer opens it, writes its `Hello` as one frame and finishes. The listener reads and checks it, hands the peer to
//! its node as an [`Incoming`], and on acceptance writes its own `Hello` and finishes. Nothing else may come on it.

use std::sync::Arc;

use mina_p2p_wire::message::{HELLO_MAX_LEN, Hello};
use mina_p2p_wire::{ChainId, PROTOCOL_VERSION, PeerId};
use tokio::time::{Instant, timeout_at};

use crate::connection::{LinkConnection, Shared};
use crate::stream::Priority;
use crate::transport::{BoxFuture, IncomingImpl};
use crate::{
    CloseReason, ConnectError, Connection, Direction, FrameBudget, Incoming, RecvStream, SendStream, StreamError,
};

/// The oldest protocol version that we speak. A peer with a later version than ours decides itself whether it speaks
/// ours.
const OLDEST_VERSION: u32 = 1;
const _: () = assert!(OLDEST_VERSION <= PROTOCOL_VERSION);

/// The dialer's side. The peer's identity has been proved by the transport, but not compared with anything yet.
pub(crate) async fn dial(
    shared: Arc<Shared>,
    ours: PeerId,
    expected: PeerId,
    our_hello: &Hello,
    deadline: Instant,
) -> Result<Arc<dyn Connection>, ConnectError> {
    // Outlives the exchange: dropped before the connection is closed, it would end as a reset, and the peer might see that
    // in place of the reason.
    let mut stream = None;
    let result = timeout_at(deadline, async {
        check_identity(shared.peer, ours, expected)?;
        let (send, recv) = stream.insert(shared.open_stream(None, Priority::Hello).await?);
        send.write(our_hello.encode()).await?;
        send.finish();
        read_hello(recv, our_hello.chain_id).await
    })
    .await
    .unwrap_or(Err(Failure::Refused(CloseReason::HelloTimeout)));
    match result {
        Ok(hello) => Ok(LinkConnection::establish(shared, Some(hello), Direction::Dialed)),
        Err(failure) => Err(failure.settle(&shared, "dialed")),
    }
}

/// The listener's side, up to the dialer's `Hello`. `place` is kept until the node has decided.
pub(crate) async fn greet(
    shared: Arc<Shared>,
    ours: PeerId,
    chain: ChainId,
    deadline: Instant,
    place: Box<dyn Send>,
) -> Result<Incoming, ConnectError> {
    // Outlives the exchange, as the dialer's.
    let mut stream = None;
    let result = timeout_at(deadline, async {
        if shared.peer == ours {
            return Err(Failure::Refused(CloseReason::SelfConnection));
        }
        let (_, send, recv) = stream.insert(shared.accept_stream().await?);
        send.set_priority(Priority::Hello);
        read_hello(recv, chain).await
    })
    .await
    .unwrap_or(Err(Failure::Refused(CloseReason::HelloTimeout)));
    match (result, stream.take()) {
        (Ok(hello), Some((_, send, _recv))) => Ok(Incoming {
            peer: shared.peer,
            transport: shared.transport(),
            remote_address: shared.remote_address(),
            hello: Some(hello.clone()),
            inner: Box::new(Greeted { shared: Some(shared), send, hello, deadline, _place: place }),
        }),
        // A `Hello` came on a stream, so there is one.
        (Ok(_), None) => Err(ConnectError::ShutDown),
        (Err(failure), _stream) => Err(failure.settle(&shared, "accepted")),
    }
}

fn check_identity(peer: PeerId, ours: PeerId, expected: PeerId) -> Result<(), Failure> {
    if peer == ours {
        Err(Failure::Refused(CloseReason::SelfConnection))
    } else if peer != expected {
        Err(Failure::Refused(CloseReason::WrongIdentity))
    } else {
        Ok(())
    }
}

/// Reads the one frame of the peer's side, and the end after it.
async fn read_hello(recv: &mut RecvStream, chain: ChainId) -> Result<Hello, Failure> {
    let malformed = |text: &str| Failure::Refused(CloseReason::MalformedHello(text.to_owned()));
    let len = match recv.read_head().await {
        Ok(Some(len)) => len,
        Ok(None) => return Err(malformed("no Hello on its stream")),
        Err(error) => return Err(error.into()),
    };
    if len as usize > HELLO_MAX_LEN {
        return Err(Failure::Refused(CloseReason::HelloTooLong));
    }
    // Bounded by the number of pending handshakes (256 x 8 KiB), so it takes no part of the node's budget.
    let budget = FrameBudget::new(0, len);
    let body = recv.read_body(len, &budget).await?.body;
    let hello = Hello::decode(body).map_err(|error| malformed(&error.to_string()))?.value;
    if hello.chain_id != chain {
        return Err(Failure::Refused(CloseReason::WrongChain));
    }
    if hello.protocol_version < OLDEST_VERSION {
        return Err(Failure::Refused(CloseReason::IncompatibleVersion));
    }
    match recv.read_some(1).await? {
        None => Ok(hello),
        Some(_) => Err(Failure::Refused(CloseReason::RepeatedHello)),
    }
}

/// Why the exchange failed.
enum Failure {
    /// We refuse the peer.
    Refused(CloseReason),
    /// The stream or the connection failed.
    Stream(StreamError),
}

impl From<StreamError> for Failure {
    fn from(error: StreamError) -> Self {
        Self::Stream(error)
    }
}

impl Failure {
    /// Closes the connection, says so in the log, and gives the caller's error.
    fn settle(self, shared: &Shared, direction: &'static str) -> ConnectError {
        let reason = match self {
            Self::Stream(StreamError::Closed(reason)) => return ConnectError::Closed(reason),
            Self::Refused(reason) => reason,
            Self::Stream(StreamError::TooSlow { .. } | StreamError::HeadTimeout(_)) => CloseReason::HelloTimeout,
            Self::Stream(error) => CloseReason::MalformedHello(error.to_string()),
        };
        tracing::debug!(
            peer = %shared.peer,
            address = %shared.remote_address(),
            direction,
            reason = %reason,
            "connection refused"
        );
        shared.close(reason.clone());
        ConnectError::Refused(reason)
    }
}

/// A dialer whose `Hello` is good and who waits for ours.
struct Greeted {
    /// Taken when the node has decided.
    shared: Option<Arc<Shared>>,
    send: SendStream,
    hello: Hello,
    deadline: Instant,
    _place: Box<dyn Send>,
}

impl IncomingImpl for Greeted {
    fn accept(mut self: Box<Self>, our_hello: &Hello) -> BoxFuture<'static, Result<Arc<dyn Connection>, ConnectError>> {
        let answer = our_hello.encode();
        Box::pin(async move {
            let Some(shared) = self.shared.take() else {
                return Err(ConnectError::ShutDown);
            };
            // The dialer has given up by then.
            if Instant::now() >= self.deadline {
                return Err(Failure::Refused(CloseReason::HelloTimeout).settle(&shared, "accepted"));
            }
            let failure = match timeout_at(self.deadline, self.send.write(answer)).await {
                Ok(Ok(())) => {
                    self.send.finish();
                    let hello = self.hello.clone();
                    return Ok(LinkConnection::establish(shared, Some(hello), Direction::Accepted));
                }
                Ok(Err(error)) => Failure::Stream(error),
                Err(_) => Failure::Refused(CloseReason::HelloTimeout),
            };
            Err(failure.settle(&shared, "accepted"))
        })
    }

    fn refuse(mut self: Box<Self>, reason: CloseReason) {
        if let Some(shared) = self.shared.take() {
            shared.close(reason);
        }
    }
}

impl Drop for Greeted {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            shared.close(CloseReason::Unspecified);
        }
    }
}
