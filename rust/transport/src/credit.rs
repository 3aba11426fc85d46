//! How much a peer may send on all its streams before we read: a transport's window, raised and lowered without ever
//! giving out more than the limit.

use crate::limits::{LARGE_RECEIVE_WINDOW, PENDING_RECEIVE_WINDOW, RECEIVE_WINDOW};

/// The credit of one connection.
///
/// Credit that was given cannot be taken back: a window that is lowered shrinks only as the peer's bytes are consumed.
/// quinn knows that too (it withholds new credit until then), but raised again meanwhile it gives out the full
/// difference once more, and a peer that alternates large and small frames would gather credit without end. So the part
/// not yet taken back is counted here as debt, and a raise is smaller by it.
///
/// The peer may send at most `window + debt` bytes ahead, and that never exceeds [`LARGE_RECEIVE_WINDOW`].
#[derive(Debug)]
pub(crate) struct Credit {
    /// The target when no large frame is read.
    base: u32,
    large_frames: u32,
    /// What the transport was last told.
    window: u32,
    debt: u32,
}

impl Credit {
    /// Before authentication.
    pub(crate) fn pending() -> Self {
        Self { base: PENDING_RECEIVE_WINDOW, large_frames: 0, window: PENDING_RECEIVE_WINDOW, debt: 0 }
    }

    /// Each of these gives the window to set, if it changes.
    pub(crate) fn authenticated(&mut self) -> Option<u32> {
        self.base = RECEIVE_WINDOW;
        self.adjust()
    }

    pub(crate) fn large_frame_began(&mut self) -> Option<u32> {
        self.large_frames += 1;
        self.adjust()
    }

    pub(crate) fn large_frame_ended(&mut self) -> Option<u32> {
        self.large_frames = self.large_frames.saturating_sub(1);
        self.adjust()
    }

    pub(crate) fn consumed(&mut self, bytes: u64) -> Option<u32> {
        if self.debt == 0 {
            return None;
        }
        self.debt = u64::from(self.debt).saturating_sub(bytes) as u32;
        self.adjust()
    }

    fn adjust(&mut self) -> Option<u32> {
        let target = match self.large_frames {
            0 => self.base,
            _ => LARGE_RECEIVE_WINDOW,
        };
        let window = if target < self.window {
            self.debt += self.window - target;
            target
        } else {
            target.saturating_sub(self.debt).max(self.window)
        };
        (window != self.window).then(|| {
            self.window = window;
            window
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// quinn's own accounting of a receive window (quinn-proto 0.11, `StreamsState::set_receive_window` and
    /// `add_read_credits`): what the peer may have sent ahead.
    struct Quinn {
        window: u64,
        debt: u64,
        ahead: u64,
    }

    impl Quinn {
        fn set(&mut self, window: Option<u32>) {
            let Some(window) = window.map(u64::from) else {
                return;
            };
            if window > self.window {
                self.ahead += window - self.window;
            } else {
                self.debt += self.window - window;
            }
            self.window = window;
        }

        fn read(&mut self, bytes: u64) {
            let absorbed = bytes.min(self.debt);
            self.debt -= absorbed;
            self.ahead -= absorbed;
        }
    }

    #[test]
    fn alternating_frames_never_gather_credit() {
        let mut credit = Credit::pending();
        let mut quinn = Quinn { window: PENDING_RECEIVE_WINDOW.into(), debt: 0, ahead: PENDING_RECEIVE_WINDOW.into() };
        quinn.set(credit.authenticated());
        assert_eq!(quinn.ahead, u64::from(RECEIVE_WINDOW));
        for round in 0..200_u64 {
            quinn.set(credit.large_frame_began());
            for _ in 0..round % 17 {
                quinn.read(100_000);
                quinn.set(credit.consumed(100_000));
                assert!(quinn.ahead <= LARGE_RECEIVE_WINDOW.into());
            }
            quinn.set(credit.large_frame_ended());
            assert!(quinn.ahead <= LARGE_RECEIVE_WINDOW.into());
        }
        quinn.set(credit.large_frame_began());
        assert!(quinn.ahead <= LARGE_RECEIVE_WINDOW.into());
        for _ in 0..100 {
            quinn.read(100_000);
            quinn.set(credit.consumed(100_000));
        }
        assert_eq!(quinn.ahead, u64::from(LARGE_RECEIVE_WINDOW));
        quinn.set(credit.large_frame_ended());
        for _ in 0..100 {
            quinn.read(100_000);
            quinn.set(credit.consumed(100_000));
        }
        assert_eq!(quinn.ahead, u64::from(RECEIVE_WINDOW));
    }
}
