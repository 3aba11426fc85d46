//! One direction of an in-memory stream: a bounded pipe.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use super::link::Ending;
use crate::stream::HalfError;

/// What a pipe holds before its writer waits.
const CAPACITY: usize = 256 * 1024;

struct Pipe {
    state: Mutex<State>,
    changed_for_reader: Notify,
    changed_for_writer: Notify,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Bytes>,
    held: usize,
    finished: bool,
    reset: Option<u64>,
    stopped: Option<u64>,
}

impl Pipe {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes to a pipe.
pub(crate) struct Sender {
    pipe: Arc<Pipe>,
    ending: Ending,
}

/// Reads from a pipe.
pub(crate) struct Receiver {
    pipe: Arc<Pipe>,
    ending: Ending,
}

/// The two ends of a pipe; each notices the end of its own side's connection.
pub(super) fn pipe(writer: Ending, reader: Ending) -> (Sender, Receiver) {
    let pipe = Arc::new(Pipe {
        state: Mutex::default(),
        changed_for_reader: Notify::new(),
        changed_for_writer: Notify::new(),
    });
    let sender = Sender { pipe: pipe.clone(), ending: writer };
    let receiver = Receiver { pipe, ending: reader };
    (sender, receiver)
}

impl Sender {
    pub(crate) async fn write(&mut self, chunks: &mut [Bytes]) -> Result<usize, HalfError> {
        let pipe = &self.pipe;
        self.ending
            .unless_ended(async {
                loop {
                    // Registered before the look, so that no change is missed between the two.
                    let changed = pipe.changed_for_writer.notified();
                    {
                        let mut state = pipe.state();
                        if let Some(code) = state.stopped {
                            return Err(HalfError::Stopped(code));
                        }
                        if state.finished || state.reset.is_some() {
                            return Err(HalfError::Unusable);
                        }
                        let mut written = 0;
                        for chunk in chunks.iter_mut() {
                            let part = chunk.split_to(chunk.len().min(CAPACITY - state.held));
                            if !part.is_empty() {
                                state.held += part.len();
                                written += part.len();
                                state.queue.push_back(part);
                            }
                        }
                        if written > 0 {
                            pipe.changed_for_reader.notify_one();
                            return Ok(written);
                        }
                    }
                    changed.await;
                }
            })
            .await
    }

    pub(crate) fn finish(&mut self) {
        self.pipe.state().finished = true;
        self.pipe.changed_for_reader.notify_one();
    }

    pub(crate) fn reset(&mut self, code: u64) {
        let mut state = self.pipe.state();
        state.reset.get_or_insert(code);
        state.queue.clear();
        state.held = 0;
        drop(state);
        self.pipe.changed_for_reader.notify_one();
    }
}

impl Receiver {
    pub(crate) async fn read(&mut self, max: usize) -> Result<Option<Bytes>, HalfError> {
        let pipe = &self.pipe;
        self.ending
            .unless_ended(async {
                loop {
                    let changed = pipe.changed_for_reader.notified();
                    {
                        let mut state = pipe.state();
                        if let Some(code) = state.reset {
                            return Err(HalfError::Reset(code));
                        }
                        if state.stopped.is_some() {
                            return Err(HalfError::Unusable);
                        }
                        if let Some(first) = state.queue.front_mut() {
                            let bytes = first.split_to(first.len().min(max));
                            if first.is_empty() {
                                state.queue.pop_front();
                            }
                            state.held -= bytes.len();
                            pipe.changed_for_writer.notify_one();
                            return Ok(Some(bytes));
                        }
                        if state.finished {
                            return Ok(None);
                        }
                    }
                    changed.await;
                }
            })
            .await
    }

    pub(crate) fn stop(&mut self, code: u64) {
        let mut state = self.pipe.state();
        state.stopped.get_or_insert(code);
        state.queue.clear();
        state.held = 0;
        drop(state);
        self.pipe.changed_for_writer.notify_one();
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop(crate::STREAM_DROPPED.into());
    }
}
