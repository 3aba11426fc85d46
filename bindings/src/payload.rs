//! Payloads: bytes that stay in Rust's memory while OCaml uses them.
//!
//! Small ones are copied into an OCaml string. A large one becomes a custom block that holds the shared buffer, and any number
//! of bigstrings can be made that look into it. The buffer is given back when the payload, its parts and its bigstrings are
//! gone, or at once by `release` when only the payload is left.

#![allow(unsafe_code)]

use std::ffi::{CStr, c_void};
use std::ops::Range;
use std::ptr;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use ocaml::sys;

use crate::custom::{self, Held, Operations};
use crate::failure::Failure;
use crate::heap::{Arg, Builder, Gc, Shape};
use crate::stub::{FromOcaml, ToOcaml, enter, stubs};

/// From this length on a payload is handed over, below it is copied: copying 64 KiB takes about as long as making a custom
/// block and, later, finalising it.
const SHARE_FROM: usize = 64 * 1024;

/// Bytes of all buffers that OCaml holds.
static LIVE: AtomicUsize = AtomicUsize::new(0);

/// A buffer that OCaml holds, counted in [`LIVE`].
struct Counted(Bytes);

impl Counted {
    fn new(bytes: Bytes) -> Counted {
        LIVE.fetch_add(bytes.len(), Ordering::Relaxed);
        Counted(bytes)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        LIVE.fetch_sub(self.0.len(), Ordering::Relaxed);
    }
}

/// A range of a buffer. The number of owners tells whether the buffer is shared.
#[derive(Clone)]
struct View {
    owner: Arc<Counted>,
    range: Range<usize>,
}

impl View {
    fn bytes(&self) -> Bytes {
        // `range` lies inside the buffer: `part` checks it.
        self.owner.0.slice(self.range.clone())
    }

    /// The bytes for a node to keep. A part that is less than half of its buffer is copied, or the node would keep alive much
    /// more than it counts.
    fn to_keep(&self) -> Bytes {
        let bytes = self.bytes();
        if bytes.len() < self.owner.0.len() / 2 { Bytes::copy_from_slice(&bytes) } else { bytes }
    }

    fn part(&self, start: usize, len: usize) -> Result<View, Failure> {
        let end = start.checked_add(len).filter(|&end| end <= self.range.len());
        let end = end.ok_or_else(|| Failure::invalid("range", format!("not inside {} bytes", self.range.len())))?;
        Ok(View { owner: self.owner.clone(), range: self.range.start + start..self.range.start + end })
    }
}

/// A payload in OCaml's hands; `None` once released.
pub(crate) struct Payload {
    view: Mutex<Option<View>>,
    weight: usize,
}

impl Payload {
    fn view(&self) -> Result<View, Failure> {
        let view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        view.clone().ok_or_else(|| Failure::invalid("payload", "it was released"))
    }
}

impl Held for Payload {
    const NAME: &'static CStr = c"mina_p2p.payload";

    fn operations() -> &'static Operations {
        static OPERATIONS: Operations = Operations::new::<Payload>();
        &OPERATIONS
    }

    fn weight(&self) -> usize {
        self.weight
    }
}

/// A payload as an argument. It is the same view, not a copy.
struct PayloadArg(View);

impl FromOcaml for PayloadArg {
    fn from_ocaml(value: Arg<'_>) -> Result<Self, Failure> {
        custom::get::<Payload>(value)?.view().map(PayloadArg)
    }
}

/// The constructors of `Raw.payload`.
const TAG_STRING: u8 = 0;
const TAG_BIGSTRING: u8 = 1;
const TAG_SHARED: u8 = 2;

/// Bytes that come as, or become, a `Raw.payload`.
pub(crate) struct Content(pub(crate) Bytes);

impl ToOcaml for Content {
    fn to_ocaml(self, builder: &mut Builder<'_>) {
        if self.0.len() < SHARE_FROM {
            builder.bytes(&self.0);
            builder.block(TAG_STRING, 1);
        } else {
            let range = 0..self.0.len();
            let view = View { owner: Arc::new(Counted::new(self.0)), range };
            let weight = view.range.len();
            custom::push(builder, Payload { view: Mutex::new(Some(view)), weight });
            builder.block(TAG_SHARED, 1);
        }
    }
}

impl FromOcaml for Content {
    /// A string and a bigstring are copied, as OCaml may move the one and write into the other. A payload is not, unless it
    /// is a small part of its buffer.
    fn from_ocaml(value: Arg<'_>) -> Result<Self, Failure> {
        let content = value.field(0)?;
        match value.shape() {
            Shape::Block { tag: TAG_STRING, .. } => content.bytes().map(|bytes| Content(Bytes::copy_from_slice(bytes))),
            Shape::Block { tag: TAG_BIGSTRING, .. } => copy_bigarray(content).map(Content),
            Shape::Block { tag: TAG_SHARED, .. } => PayloadArg::from_ocaml(content).map(|arg| Content(arg.0.to_keep())),
            _ => Err(Failure::shape("a payload")),
        }
    }
}

/// The start of `struct caml_ba_array`, with one dimension.
#[repr(C)]
struct Bigarray {
    data: *mut c_void,
    num_dims: isize,
    flags: isize,
    proxy: *mut Proxy,
    dim: isize,
}

/// `struct caml_ba_proxy`, which all bigarrays over the same memory share, and behind it what owns the memory. The runtime
/// adds to the count when it makes a sub-array (atomically in OCaml 5).
#[repr(C)]
struct Proxy {
    refcount: AtomicIsize,
    data: *mut c_void,
    size: usize,
    _view: View,
}

const BIGARRAY_WORDS: usize = size_of::<Bigarray>() / size_of::<sys::Value>();

unsafe extern "C" {
    /// The runtime's operations on bigarrays.
    static caml_ba_ops: sys::custom_operations;
}

/// The runtime's operations on bigarrays with our finaliser: compared, hashed and marshalled as any bigarray.
fn bigarray_operations() -> &'static sys::custom_operations {
    struct Ours(sys::custom_operations);
    // SAFETY: constant once made; the pointers in it are those of the runtime's own constant.
    unsafe impl Sync for Ours {}
    // SAFETY: as above.
    unsafe impl Send for Ours {}
    static OPERATIONS: OnceLock<Ours> = OnceLock::new();
    // SAFETY: a constant of the runtime.
    &OPERATIONS
        .get_or_init(|| Ours(sys::custom_operations { finalize: Some(finalize_bigarray), ..unsafe { caml_ba_ops } }))
        .0
}

/// Called by the collector for a bigarray of ours and for each sub-array of one, which the runtime gives the same operations.
unsafe extern "C" fn finalize_bigarray(value: sys::Value) {
    // SAFETY: the block is a bigarray, made by `push_bigstring` or by the runtime from such a one, which passes the proxy on
    // because the memory is not marked as `CAML_BA_EXTERNAL`.
    unsafe {
        let proxy = (*sys::field(value, 1).cast::<Bigarray>()).proxy;
        if (*proxy).refcount.fetch_sub(1, Ordering::AcqRel) == 1 {
            drop(Box::from_raw(proxy));
        }
    }
}

/// Pushes a bigstring that looks into `view` and keeps it alive.
fn push_bigstring(builder: &mut Builder<'_>, view: View) {
    // `Managed::MAPPED_FILE`: memory that the runtime neither made nor frees, yet shares between sub-arrays by a proxy.
    let flags = sys::bigarray::Kind::CHAR as isize
        | sys::bigarray::Layout::C_LAYOUT as isize
        | sys::bigarray::Managed::MAPPED_FILE as isize;
    let bytes = view.bytes();
    let data = bytes.as_ptr().cast_mut().cast::<c_void>();
    let len = bytes.len();
    let proxy = Proxy { refcount: AtomicIsize::new(1), data, size: len, _view: view };
    let array = Bigarray { data, num_dims: 1, flags, proxy: Box::into_raw(Box::new(proxy)), dim: len.cast_signed() };
    // SAFETY: the operations are a constant, their finaliser takes the proxy, and the data are a bigarray of one dimension.
    // No weight: the payload's own block carries it.
    unsafe {
        builder.custom(bigarray_operations(), BIGARRAY_WORDS, 0, |block| block.cast::<Bigarray>().write(array));
    }
}

/// The bytes of a `(char, int8_unsigned_elt, c_layout) Bigarray.Array1.t`.
fn copy_bigarray(value: Arg<'_>) -> Result<Bytes, Failure> {
    let bigarray = value.custom::<Bigarray>(|operations| {
        // SAFETY: an identifier is a C string that lives as long as the operations; the runtime's is a constant.
        unsafe { CStr::from_ptr(operations.identifier.cast()) == CStr::from_ptr(caml_ba_ops.identifier.cast()) }
    })?;
    // SAFETY: a bigarray; its number of dimensions is read before the one dimension.
    unsafe {
        if (*bigarray).num_dims != 1 || (*bigarray).flags & 0xff != sys::bigarray::Kind::CHAR as isize {
            return Err(Failure::shape("a bigstring"));
        }
        let len = (*bigarray).dim.cast_unsigned();
        let mut copy = Vec::with_capacity(len);
        // Not a slice: another thread may write there meanwhile, which garbles the copy at worst.
        ptr::copy_nonoverlapping((*bigarray).data.cast::<u8>(), copy.as_mut_ptr(), len);
        copy.set_len(len);
        Ok(Bytes::from(copy))
    }
}

/// A bigstring as a result.
struct Bigstring(View);

impl ToOcaml for Bigstring {
    fn to_ocaml(self, builder: &mut Builder<'_>) {
        push_bigstring(builder, self.0);
    }
}

/// A part of a payload as a result.
struct Part(View);

impl ToOcaml for Part {
    fn to_ocaml(self, builder: &mut Builder<'_>) {
        custom::push(builder, Payload { view: Mutex::new(Some(self.0)), weight: 0 });
    }
}

stubs! {
    /// `shared -> (int, Error.t) result`
    fn mina_p2p_payload_length(payload: PayloadArg) -> usize {
        Ok(payload.0.range.len())
    }

    /// `shared -> int -> int -> (shared, Error.t) result`: a range, sharing the memory.
    fn mina_p2p_payload_part(payload: PayloadArg, start: usize, len: usize) -> Part {
        payload.0.part(start, len).map(Part)
    }

    /// `shared -> (bigstring, Error.t) result`: sharing the memory.
    fn mina_p2p_payload_bigstring(payload: PayloadArg) -> Bigstring {
        Ok(Bigstring(payload.0))
    }

    /// `shared -> (unit, Error.t) result`: gives the memory back, unless something else uses it.
    fn mina_p2p_payload_release(payload: Released) -> () {
        payload.0
    }

    /// `unit -> (int, Error.t) result`: bytes of all buffers that OCaml holds. For tests.
    fn mina_p2p_test_live_bytes(_unit: ()) -> usize {
        Ok(LIVE.load(Ordering::Relaxed))
    }
}

/// `shared -> int -> bytes -> int -> int -> (unit, Error.t) result`: copies a range into OCaml's bytes.
///
/// Not one of `stubs!`, whose arguments do not outlive their conversion.
///
/// # Safety
/// To be called by OCaml alone, as an `external` without `[@@noalloc]`.
#[allow(unreachable_pub)] // An exported symbol, not a name for Rust.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mina_p2p_payload_blit(
    payload: ocaml::Raw,
    source: ocaml::Raw,
    target: ocaml::Raw,
    position: ocaml::Raw,
    len: ocaml::Raw,
) -> ocaml::Raw {
    let body = |gc: &mut Gc| {
        // SAFETY: these are the arguments of the call, in which nothing was allocated yet.
        let [payload, source, target, position, len] =
            [payload, source, target, position, len].map(|raw| unsafe { gc.arg(raw) });
        let PayloadArg(view) = FromOcaml::from_ocaml(payload)?;
        let part = view.part(FromOcaml::from_ocaml(source)?, FromOcaml::from_ocaml(len)?)?;
        target.write_bytes(FromOcaml::from_ocaml(position)?, &part.bytes())
    };
    // SAFETY: the caller's promise.
    unsafe { enter(body) }
}

/// The outcome of releasing a payload, which is done while the argument is read: the block must not move meanwhile.
struct Released(Result<(), Failure>);

impl FromOcaml for Released {
    fn from_ocaml(value: Arg<'_>) -> Result<Self, Failure> {
        let payload = custom::get::<Payload>(value)?;
        let mut slot = payload.view.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(view) = slot.take() else { return Ok(Released(Ok(()))) };
        Ok(Released(match Arc::try_unwrap(view.owner) {
            Ok(_last) => Ok(()),
            Err(owner) => {
                *slot = Some(View { owner, range: view.range });
                Err(Failure::PayloadShared)
            }
        }))
    }
}
