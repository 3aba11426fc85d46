//! Reading and building OCaml values without ever holding one that the collector does not know.
//!
//! Three rules make it safe, and the types enforce them:
//!
//! 1. A value that OCaml passed in ([`Arg`]) borrows the [`Gc`] token. Whatever may run the collector borrows that token
//!    mutably. So no argument, and no slice into one, outlives the first allocation.
//! 2. A value under construction lives in a stack that the collector scans ([`Builder`]), never in a Rust variable:
//!    operations push to it and pop from it.
//! 3. Reading checks the shape of a value before it follows it, so that a mistake between an `external` and its stub is
//!    an error, not a wild pointer.
//!
//! An allocation that finds no memory raises `Out_of_memory` over the Rust frames, whose roots then dangle. So nothing large is
//! allocated here: what can be large is a custom block, or is copied into `bytes` that OCaml made.
//!
//! Only functions of OCaml's public C interface are called. In particular no `boxroot`: in OCaml 4 it installs process-wide
//! hooks and refuses to work once a second copy of it, in another Rust library, has installed its own.

#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::marker::PhantomData;

use ocaml::sys;

use crate::failure::Failure;

/// The largest block that `caml_alloc_small` makes, in words (`Max_young_wosize`).
const MAX_SMALL_WORDS: usize = 256;

/// How many values can be under construction at once. The deepest, a response with a list of parts inside an event inside a
/// list, needs fewer than 24.
const STACK_WORDS: usize = 64;

/// Proof that this thread holds the OCaml runtime lock.
pub(crate) struct Gc {
    /// The lock belongs to a thread.
    _not_send: PhantomData<*mut ()>,
}

impl Gc {
    /// # Safety
    /// The caller runs inside an `external` called by OCaml and not declared `[@@noalloc]`, no other token exists in this
    /// call, and the token does not outlive it.
    pub(crate) unsafe fn assume() -> Gc {
        Gc { _not_send: PhantomData }
    }

    /// An argument of the `external` that is being run.
    ///
    /// # Safety
    /// `raw` is such an argument, and nothing has run the collector since the call began.
    pub(crate) unsafe fn arg(&self, raw: ocaml::Raw) -> Arg<'_> {
        Arg { value: raw.0, _gc: PhantomData }
    }

    /// Runs `f` without the runtime lock, so that other OCaml threads go on meanwhile.
    pub(crate) fn blocking<R>(&mut self, f: impl FnOnce() -> R) -> R {
        unsafe extern "C" {
            /// Unlike `caml_enter_blocking_section` it runs no signal handler, and so raises no OCaml exception, which
            /// would jump over the Rust frames.
            fn caml_enter_blocking_section_no_pending();
        }
        struct Reenter;
        impl Drop for Reenter {
            fn drop(&mut self) {
                // SAFETY: undoes the entering below, once, on the same thread, also when `f` panics.
                unsafe { sys::caml_leave_blocking_section() }
            }
        }
        // SAFETY: this thread holds the runtime lock (`self`), and no `Arg` is alive (`&mut self`). `f` cannot touch the
        // heap: it cannot have a `Gc`.
        unsafe { caml_enter_blocking_section_no_pending() };
        let _reenter = Reenter;
        f()
    }

    /// Builds one value: what `f` leaves on top of the stack.
    pub(crate) fn build(&mut self, f: impl FnOnce(&mut Builder<'_>)) -> ocaml::Raw {
        // SAFETY: allocating is allowed, as this thread holds the lock (`self`) and no `Arg` is alive (`&mut self`). 64 words
        // are a small block, whose fields `caml_alloc` sets to unit.
        let frame = UnsafeCell::new(unsafe { sys::caml_alloc(STACK_WORDS, 0) });
        // SAFETY: the cell holds a valid value and stays where it is until `Registered` is dropped, before the cell.
        unsafe { sys::caml_register_generational_global_root(frame.get()) };
        let registered = Registered(&frame);
        let mut builder = Builder { frame: &frame, depth: 0, _gc: PhantomData };
        f(&mut builder);
        assert_eq!(builder.depth, 1, "a builder must leave one value");
        let value = builder.peek(0);
        drop(registered);
        // Nothing allocates between here and the return to OCaml.
        ocaml::Raw(value)
    }
}

/// A cell while the collector knows it.
struct Registered<'a>(&'a UnsafeCell<sys::Value>);

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        // SAFETY: the cell was registered when this was made.
        unsafe { sys::caml_remove_generational_global_root(self.0.get()) }
    }
}

/// What a value is, as far as its header tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// An integer, a constant constructor, a boolean, unit, the empty list.
    Immediate(isize),
    /// A block with this tag and this many fields or words.
    Block {
        /// The constructor's number, or what kind of block it is.
        tag: u8,
        /// Words.
        size: usize,
    },
}

/// A value that OCaml passed in.
#[derive(Clone, Copy)]
pub(crate) struct Arg<'gc> {
    value: sys::Value,
    _gc: PhantomData<&'gc Gc>,
}

impl<'gc> Arg<'gc> {
    /// What it is.
    pub(crate) fn shape(self) -> Shape {
        if sys::is_long(self.value) {
            // SAFETY: arithmetic alone.
            Shape::Immediate(unsafe { sys::int_val(self.value) })
        } else {
            // SAFETY: a value that is not immediate points at a block, which has a header before it.
            unsafe { Shape::Block { tag: sys::tag_val(self.value), size: sys::wosize_val(self.value) } }
        }
    }

    /// An integer or a constant constructor.
    pub(crate) fn int(self) -> Result<isize, Failure> {
        match self.shape() {
            Shape::Immediate(number) => Ok(number),
            Shape::Block { .. } => Err(Failure::shape("an immediate")),
        }
    }

    /// The bytes of a string.
    pub(crate) fn bytes(self) -> Result<&'gc [u8], Failure> {
        match self.shape() {
            Shape::Block { tag: sys::STRING, .. } => {
                // SAFETY: a block with the string tag. OCaml strings do not change, and this one does not move while `'gc`
                // is borrowed.
                Ok(unsafe {
                    std::slice::from_raw_parts(sys::string_val(self.value), sys::caml_string_length(self.value))
                })
            }
            _ => Err(Failure::shape("a string")),
        }
    }

    /// Writes into an OCaml `bytes`, if the range is inside.
    pub(crate) fn write_bytes(self, position: usize, source: &[u8]) -> Result<(), Failure> {
        let Shape::Block { tag: sys::STRING, .. } = self.shape() else { return Err(Failure::shape("bytes")) };
        // SAFETY: a block with the string tag.
        let len = unsafe { sys::caml_string_length(self.value) };
        if position > len || source.len() > len - position {
            return Err(Failure::invalid("range", format!("not inside {len} bytes")));
        }
        // SAFETY: the range is inside the block, which does not move while `'gc` is borrowed. `source` is outside the heap:
        // slices into it come from `bytes` and are immutable strings, not `bytes`.
        unsafe {
            let target = sys::string_val(self.value).add(position);
            std::ptr::copy_nonoverlapping(source.as_ptr(), target, source.len());
        }
        Ok(())
    }

    /// A field of a record, a tuple or a constructor.
    pub(crate) fn field(self, index: usize) -> Result<Arg<'gc>, Failure> {
        match self.shape() {
            Shape::Block { tag, size } if tag < sys::NO_SCAN && index < size => {
                // SAFETY: the block has that field, and its tag says that fields are values.
                Ok(Arg { value: unsafe { *sys::field(self.value, index) }, _gc: PhantomData })
            }
            _ => Err(Failure::shape("a block with that field")),
        }
    }

    /// An unboxed or boxed float.
    pub(crate) fn float(self) -> Result<f64, Failure> {
        match self.shape() {
            // SAFETY: a block with the double tag holds one.
            Shape::Block { tag: sys::DOUBLE, .. } => Ok(unsafe { sys::caml_sys_double_val(self.value) }),
            _ => Err(Failure::shape("a float")),
        }
    }

    /// The data of a custom block whose operations are called `identifier`.
    pub(crate) fn custom<T>(self, is: impl FnOnce(&sys::custom_operations) -> bool) -> Result<*const T, Failure> {
        match self.shape() {
            Shape::Block { tag: sys::CUSTOM, size } if size > size_of::<T>() / size_of::<sys::Value>() => {
                // SAFETY: the first word of a custom block points at its operations, which live as long as the process.
                let operations = unsafe { &*(*sys::field(self.value, 0) as *const sys::custom_operations) };
                if is(operations) {
                    // SAFETY: the block has that many words.
                    return Ok(unsafe { sys::field(self.value, 1) } as *const T);
                }
                Err(Failure::shape("another custom block"))
            }
            _ => Err(Failure::shape("a custom block")),
        }
    }

    /// A boxed 64-bit integer.
    pub(crate) fn int64(self) -> Result<i64, Failure> {
        // SAFETY (of the read): the identifier is that of OCaml's own boxed integers, whose data is one i64.
        let data = self.custom::<i64>(|operations| {
            // SAFETY: an identifier is a C string that lives as long as the operations.
            let identifier = unsafe { std::ffi::CStr::from_ptr(operations.identifier.cast()) };
            identifier == c"_j"
        })?;
        Ok(unsafe { *data })
    }

    /// The items of a list.
    pub(crate) fn list(self) -> List<'gc> {
        List(self)
    }
}

/// Iterates over an OCaml list.
pub(crate) struct List<'gc>(Arg<'gc>);

impl<'gc> Iterator for List<'gc> {
    type Item = Result<Arg<'gc>, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Shape::Immediate(_) = self.0.shape() {
            return None;
        }
        let parts = self.0.field(0).and_then(|head| Ok((head, self.0.field(1)?)));
        Some(parts.map(|(head, tail)| {
            self.0 = tail;
            head
        }))
    }
}

/// Builds one OCaml value bottom up, as a stack machine: leaves are pushed, and [`Builder::block`] replaces the topmost
/// values by a block that holds them.
pub(crate) struct Builder<'gc> {
    /// Holds an OCaml block of [`STACK_WORDS`] fields: the stack. The collector updates the cell when it moves the block.
    frame: &'gc UnsafeCell<sys::Value>,
    depth: usize,
    _gc: PhantomData<&'gc mut Gc>,
}

impl Builder<'_> {
    fn frame(&self) -> sys::Value {
        // SAFETY: only the collector writes the cell, and it runs only inside the allocations below, on this thread or
        // while this thread waits.
        unsafe { *self.frame.get() }
    }

    /// The value that is `below` the top. Not to be kept over an allocation.
    fn peek(&self, below: usize) -> sys::Value {
        let index = self.depth.checked_sub(below + 1).unwrap_or_else(|| underflow());
        // SAFETY: `push` keeps `depth` inside the frame.
        unsafe { *sys::field(self.frame(), index) }
    }

    fn push(&mut self, value: sys::Value) {
        assert!(self.depth < STACK_WORDS, "a value is nested too deeply to build");
        // SAFETY: the index is inside the frame, and `value` is fresh or immediate: nothing was allocated since.
        unsafe { sys::caml_modify(sys::field(self.frame(), self.depth), value) };
        self.depth += 1;
    }

    /// An integer. Those of more than 63 bits lose their highest.
    pub(crate) fn int(&mut self, number: isize) {
        // SAFETY: arithmetic alone.
        self.push(unsafe { sys::val_int(number) });
    }

    /// A polymorphic variant without an argument, or the tag of one with an argument.
    pub(crate) fn variant(&mut self, name: &str) {
        self.int(variant_hash(name));
    }

    /// A boolean.
    pub(crate) fn bool(&mut self, value: bool) {
        self.int(isize::from(value));
    }

    /// A string of these bytes.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        // SAFETY: the collector may run: all values of ours are in the frame. The runtime copies `len` bytes.
        let value = unsafe { sys::caml_alloc_initialized_string(bytes.len(), bytes.as_ptr().cast()) };
        self.push(value);
    }

    /// A boxed 64-bit integer; an unsigned one keeps its bits.
    pub(crate) fn int64(&mut self, number: u64) {
        // SAFETY: as for `bytes`.
        let value = unsafe { sys::caml_copy_int64(number.cast_signed()) };
        self.push(value);
    }

    /// A float.
    pub(crate) fn float(&mut self, number: f64) {
        // SAFETY: as for `bytes`.
        let value = unsafe { sys::caml_copy_double(number) };
        self.push(value);
    }

    /// Replaces the `size` topmost values by a block that has them as its fields, the topmost last: a record or tuple (tag
    /// 0), or the constructor with that number among those that have arguments.
    pub(crate) fn block(&mut self, tag: u8, size: usize) {
        assert!((1..=MAX_SMALL_WORDS.min(self.depth)).contains(&size), "a block of {size} fields");
        // SAFETY: the collector may run: all values of ours are in the frame. The size is that of a small block.
        let value = unsafe { sys::caml_alloc_small(size, tag) };
        for index in 0..size {
            // SAFETY: the block is fresh and in the minor heap, so that its fields are set by plain stores, all of them
            // before anything else is allocated.
            unsafe { *sys::field(value, index) = self.peek(size - 1 - index) };
        }
        self.depth -= size;
        self.push(value);
    }

    /// `None`, or `Some` of what `f` pushes.
    pub(crate) fn option<T>(&mut self, value: Option<T>, f: impl FnOnce(&mut Self, T)) {
        match value {
            None => self.int(0),
            Some(value) => {
                f(self, value);
                self.block(0, 1);
            }
        }
    }

    /// A list of what `f` pushes for each item.
    pub(crate) fn list<T, I>(&mut self, items: I, mut f: impl FnMut(&mut Self, T))
    where
        I: IntoIterator<Item = T, IntoIter: DoubleEndedIterator>,
    {
        self.int(0);
        for item in items.into_iter().rev() {
            f(self, item);
            self.cons();
        }
    }

    /// Replaces a list and the item above it by the list with that item in front.
    fn cons(&mut self) {
        assert!(self.depth >= 2, "a list and an item");
        // SAFETY: as in `block`.
        let value = unsafe { sys::caml_alloc_small(2, 0) };
        // SAFETY: as in `block`.
        unsafe {
            *sys::field(value, 0) = self.peek(0);
            *sys::field(value, 1) = self.peek(1);
        }
        self.depth -= 2;
        self.push(value);
    }

    /// A custom block of `words` data words that `init` fills; `bytes` of memory outside the heap hang on it, which makes the
    /// collector run the sooner.
    ///
    /// # Safety
    /// `operations` live as long as the process, and their finaliser takes what `init` leaves. `init` writes `words` words at
    /// most, and does not touch the OCaml heap.
    pub(crate) unsafe fn custom(
        &mut self,
        operations: *const sys::custom_operations,
        words: usize,
        bytes: usize,
        init: impl FnOnce(*mut sys::Value),
    ) {
        // SAFETY: the collector may run: all values of ours are in the frame. The runtime only reads the operations.
        let value =
            unsafe { sys::caml_alloc_custom_mem(operations.cast_mut(), words * size_of::<sys::Value>(), bytes) };
        // SAFETY: the data begin after the pointer to the operations.
        init(unsafe { sys::field(value, 1) });
        self.push(value);
    }
}

/// What stands for the name of a polymorphic variant: OCaml's `caml_hash_variant`, which compilers use too.
fn variant_hash(name: &str) -> isize {
    let hash = name.bytes().fold(0_u32, |hash, byte| hash.wrapping_mul(223).wrapping_add(byte.into()));
    // 31 bits with a sign, on every machine.
    ((hash << 1).cast_signed() >> 1) as isize
}

#[cold]
#[allow(clippy::panic)]
fn underflow() -> ! {
    // A mistake in a conversion: every stub turns it into an error.
    panic!("a conversion took more values than it made")
}
