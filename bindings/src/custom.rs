//! Rust values that OCaml holds: custom blocks with one word, a pointer to the value.

#![allow(unsafe_code)]

use std::ffi::CStr;
use std::ptr;

use ocaml::sys;

use crate::failure::Failure;
use crate::heap::{Arg, Builder};

/// The operations of one kind of custom block. They have no comparison, hash or serialisation: OCaml's polymorphic functions
/// refuse such values, or, to hash them, skip them.
#[repr(transparent)]
pub(crate) struct Operations(sys::custom_operations);

// SAFETY: constant; the pointers in it point at constants.
unsafe impl Sync for Operations {}

impl Operations {
    /// Operations for blocks that own a `T`.
    pub(crate) const fn new<T: Held>() -> Operations {
        Operations(sys::custom_operations {
            identifier: T::NAME.as_ptr().cast(),
            finalize: Some(finalize::<T>),
            compare: None,
            hash: None,
            serialize: None,
            deserialize: None,
            compare_ext: None,
            fixed_length: ptr::null(),
        })
    }
}

/// A value that OCaml holds. It is finalised on whatever thread runs the collector, and in OCaml 5 several domains may use it
/// at once.
pub(crate) trait Held: Send + Sync + 'static {
    /// The identifier, unique in the process.
    const NAME: &'static CStr;

    /// The operations: one constant for each type, whose address tells the type.
    fn operations() -> &'static Operations;

    /// Bytes outside the OCaml heap that hang on the value.
    fn weight(&self) -> usize {
        0
    }

    /// The value's end.
    fn release(self: Box<Self>) {}
}

/// Pushes a custom block that owns `value`.
pub(crate) fn push<T: Held>(builder: &mut Builder<'_>, value: T) {
    let weight = value.weight();
    let value = Box::into_raw(Box::new(value));
    // SAFETY: the operations are a constant, made by `Operations::new::<T>`, whose finaliser takes the pointer that the one
    // word is set to.
    unsafe {
        builder.custom(&T::operations().0, 1, weight, |data| {
            data.cast::<*mut T>().write(value);
        });
    }
}

/// The value of a custom block made by [`push`] for a `T`.
pub(crate) fn get<'gc, T: Held>(arg: Arg<'gc>) -> Result<&'gc T, Failure> {
    let data = arg.custom::<*const T>(|operations| ptr::eq(operations, &T::operations().0))?;
    // SAFETY: the operations are those of `T`, so that `push` made the block. The block is alive while `'gc` is borrowed, and
    // its finaliser has not run.
    Ok(unsafe { &**data })
}

/// Called by the collector, once, when a block is unreachable.
unsafe extern "C" fn finalize<T: Held>(value: sys::Value) {
    // SAFETY: `push` set the word to a pointer from `Box::into_raw`, and nothing takes it but this.
    let value = unsafe { Box::from_raw(*sys::field(value, 1).cast::<*mut T>()) };
    // A panic must not cross into the collector. What it leaks is leaked.
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| value.release()));
}
