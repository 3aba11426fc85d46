//! The frame of every stub: arguments in, one `result` out, and no panic past it.

#![allow(unsafe_code)]

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::failure::Failure;
use crate::heap::{Arg, Builder, Gc};

/// A Rust value made from an OCaml one. It owns what it holds: the OCaml value is not kept.
pub(crate) trait FromOcaml: Sized {
    /// Reads the value.
    fn from_ocaml(value: Arg<'_>) -> Result<Self, Failure>;
}

/// Reads a value that a refusal is to call by this name.
pub(crate) fn named<T: FromOcaml>(name: &str, value: Arg<'_>) -> Result<T, Failure> {
    T::from_ocaml(value).map_err(|failure| failure.named(name))
}

/// A Rust value that becomes an OCaml one.
pub(crate) trait ToOcaml {
    /// Pushes exactly one value.
    fn to_ocaml(self, builder: &mut Builder<'_>);
}

/// Runs the body of a stub. Whatever happens, OCaml gets a `('a, Error.t) result`: the body's own, or the panic that ended it.
///
/// # Safety
/// As for [`Gc::assume`].
pub(crate) unsafe fn enter<R: ToOcaml>(body: impl FnOnce(&mut Gc) -> Result<R, Failure>) -> ocaml::Raw {
    // SAFETY: the caller's promise. Nothing of `body` is seen again after a panic but what it left behind locks, which
    // does not outlive the panic in a broken state: handles hold no lock over a call into the node.
    let mut gc = unsafe { Gc::assume() };
    catch_unwind(AssertUnwindSafe(|| {
        let result = body(&mut gc);
        gc.build(|builder| result.to_ocaml(builder))
    }))
    .unwrap_or_else(|panic| {
        let failure = Failure::Internal(message(&*panic));
        gc.build(|builder| Err::<(), Failure>(failure).to_ocaml(builder))
    })
}

/// What a panic said.
fn message(panic: &(dyn Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic without a message".to_owned()
    }
}

/// Defines stubs. The arguments are converted in order by [`FromOcaml`], the body gets them as Rust values, and what it
/// returns (a `Result<_, Failure>`) is converted by [`ToOcaml`]. One that is `using gc` may give up the runtime lock.
///
/// What makes the expansion sound: the OCaml side declares each stub as an `external` with this number of arguments, at most
/// five, all boxed (the default), and without `[@@noalloc]`.
macro_rules! stubs {
    ($($(#[$attribute:meta])* fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(using $gc:ident)? -> $ok:ty $body:block)*) => {$(
        $(#[$attribute])*
        ///
        /// # Safety
        /// To be called by OCaml alone, as an `external` without `[@@noalloc]`.
        #[allow(unreachable_pub)] // An exported symbol, not a name for Rust.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($argument: ocaml::Raw),*) -> ocaml::Raw {
            let body = |gc: &mut $crate::heap::Gc| -> Result<$ok, $crate::failure::Failure> {
                $(
                    // SAFETY: this is an argument of the call, in which nothing was allocated yet.
                    let $argument = unsafe { gc.arg($argument) };
                    let $argument = <$type as $crate::stub::FromOcaml>::from_ocaml($argument)?;
                )*
                $(let $gc = &mut *gc;)?
                $body
            };
            // SAFETY: the caller's promise.
            unsafe { $crate::stub::enter(body) }
        }
    )*};
}
pub(crate) use stubs;

impl<T: ToOcaml> ToOcaml for Result<T, Failure> {
    fn to_ocaml(self, builder: &mut Builder<'_>) {
        match self {
            Ok(value) => {
                value.to_ocaml(builder);
                builder.block(0, 1);
            }
            Err(failure) => {
                failure.to_ocaml(builder);
                builder.block(1, 1);
            }
        }
    }
}

impl ToOcaml for () {
    fn to_ocaml(self, builder: &mut Builder<'_>) {
        builder.int(0);
    }
}

impl FromOcaml for () {
    fn from_ocaml(value: Arg<'_>) -> Result<Self, Failure> {
        value.int().map(drop)
    }
}

impl ToOcaml for bool {
    fn to_ocaml(self, builder: &mut Builder<'_>) {
        builder.bool(self);
    }
}

impl FromOcaml for bool {
    fn from_ocaml(value: Arg<'_>) -> Result<Self, Failure> {
        Ok(value.int()? != 0)
    }
}

impl ToOcaml for usize {
    fn to_ocaml(self, builder: &mut Builder<'_>) {
        builder.int(self.cast_signed());
    }
}

/// `max_int`: an OCaml `int` has 63 bits.
const INT_MAX: u64 = u64::MAX >> 2;

/// A number that OCaml gives as an `int`; a negative one or one that is too large is refused.
macro_rules! from_int {
    ($($type:ty),*) => {$(
        impl FromOcaml for $type {
            fn from_ocaml(value: Arg<'_>) -> Result<Self, Failure> {
                let number = value.int()?;
                <$type>::try_from(number).map_err(|_| {
                    let max = u64::try_from(<$type>::MAX).unwrap_or(u64::MAX).min(INT_MAX);
                    Failure::invalid("number", format!("{number} is not in 0..={max}"))
                })
            }
        }
    )*};
}
from_int!(u8, u16, u32, usize);

impl FromOcaml for f64 {
    fn from_ocaml(value: Arg<'_>) -> Result<Self, Failure> {
        value.float()
    }
}

/// An `int64` whose bits are an unsigned number.
impl FromOcaml for u64 {
    fn from_ocaml(value: Arg<'_>) -> Result<Self, Failure> {
        value.int64().map(i64::cast_unsigned)
    }
}

impl ToOcaml for u64 {
    fn to_ocaml(self, builder: &mut Builder<'_>) {
        builder.int64(self);
    }
}

impl ToOcaml for String {
    fn to_ocaml(self, builder: &mut Builder<'_>) {
        builder.bytes(self.as_bytes());
    }
}

impl FromOcaml for String {
    fn from_ocaml(value: Arg<'_>) -> Result<Self, Failure> {
        let bytes = value.bytes()?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(error) => Err(Failure::invalid("text", error.to_string())),
        }
    }
}

impl<const N: usize> ToOcaml for [u8; N] {
    fn to_ocaml(self, builder: &mut Builder<'_>) {
        builder.bytes(&self);
    }
}

impl<const N: usize> FromOcaml for [u8; N] {
    fn from_ocaml(value: Arg<'_>) -> Result<Self, Failure> {
        let bytes = value.bytes()?;
        bytes.try_into().map_err(|_| Failure::invalid("bytes", format!("{} bytes where {N} are needed", bytes.len())))
    }
}

impl<T: ToOcaml> ToOcaml for Option<T> {
    fn to_ocaml(self, builder: &mut Builder<'_>) {
        builder.option(self, |builder, value| value.to_ocaml(builder));
    }
}

impl<T: FromOcaml> FromOcaml for Option<T> {
    fn from_ocaml(value: Arg<'_>) -> Result<Self, Failure> {
        match value.int() {
            Ok(_) => Ok(None),
            Err(_) => T::from_ocaml(value.field(0)?).map(Some),
        }
    }
}

impl<T: ToOcaml> ToOcaml for Vec<T> {
    fn to_ocaml(self, builder: &mut Builder<'_>) {
        builder.list(self, |builder, item| item.to_ocaml(builder));
    }
}

impl<T: FromOcaml> FromOcaml for Vec<T> {
    fn from_ocaml(value: Arg<'_>) -> Result<Self, Failure> {
        value.list().map(|item| item.and_then(T::from_ocaml)).collect()
    }
}

/// Fields of a constructor.
pub(crate) trait Fields {
    /// Pushes a block of these fields, with the constructor's number among those that have arguments.
    fn construct(self, tag: u8, builder: &mut Builder<'_>);
}

macro_rules! fields {
    ($($n:literal: $($type:ident $index:tt),*;)*) => {$(
        impl<$($type: ToOcaml),*> Fields for ($($type,)*) {
            fn construct(self, tag: u8, builder: &mut Builder<'_>) {
                $(self.$index.to_ocaml(builder);)*
                builder.block(tag, $n);
            }
        }
    )*};
}
fields! {
    1: A 0;
    2: A 0, B 1;
    3: A 0, B 1, C 2;
    4: A 0, B 1, C 2, D 3;
    5: A 0, B 1, C 2, D 3, E 4;
}

macro_rules! tuples {
    ($($($type:ident $index:tt),*;)*) => {$(
        impl<$($type: ToOcaml),*> ToOcaml for ($($type,)*) {
            fn to_ocaml(self, builder: &mut Builder<'_>) {
                self.construct(0, builder);
            }
        }

        impl<$($type: FromOcaml),*> FromOcaml for ($($type,)*) {
            fn from_ocaml(value: Arg<'_>) -> Result<Self, Failure> {
                Ok(($($type::from_ocaml(value.field($index)?)?,)*))
            }
        }
    )*};
}
tuples! {
    A 0, B 1;
    A 0, B 1, C 2;
}
