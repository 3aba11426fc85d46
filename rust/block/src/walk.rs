//! Goes over bytes as a [`Shape`] says, once, without allocating, and without recursion that the bytes could deepen beyond
//! [`MAX_NESTED`].

use std::ops::Range;

use crate::LayoutError;
use crate::format::{Mark, ONE, Shape, TWO};

/// How deep account updates may call each other. Mainnet's cost limit (69.45, of which the cheapest update with a place of
/// its own takes at least 5) allows 13 updates in a command, so no call can be deeper; this is five times that. All levels
/// together fit a stack of 256 KiB even in a debug build.
pub(crate) const MAX_NESTED: usize = 64;

/// What is told of a walk.
pub(crate) trait Visitor {
    /// Whether integers that are longer than needed are passed to [`Self::long_integer`] rather than refused.
    const TOLERANT: bool = false;

    /// A marked element was walked.
    fn mark(&mut self, _mark: Mark, _range: Range<usize>) {}

    /// The integer in this place is longer than needed.
    fn long_integer(&mut self, _range: Range<usize>, _value: Number) {}
}

/// Wants to know nothing.
impl Visitor for () {}

/// An integer that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Number {
    /// A length, without a sign.
    Length(u64),
    /// A value with its sign.
    Int(i64),
}

/// The walk stopped; [`Walker::error`] says why. Kept apart from the reason because every element returns one.
#[derive(Debug)]
pub(crate) struct Stopped;

type Step = Result<(), Stopped>;

/// Where a walk is.
pub(crate) struct Walker<'a, V> {
    bytes: &'a [u8],
    at: usize,
    nested: usize,
    error: Option<LayoutError>,
    /// What is told.
    pub(crate) visitor: V,
}

impl<'a, V: Visitor> Walker<'a, V> {
    pub(crate) fn new(bytes: &'a [u8], visitor: V) -> Self {
        Self { bytes, at: 0, nested: 0, error: None, visitor }
    }

    /// How many bytes were walked.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// The byte that comes next.
    pub(crate) fn next(&self) -> Option<u8> {
        self.rest().first().copied()
    }

    /// Why the walk stopped.
    pub(crate) fn error(self, _stopped: Stopped) -> LayoutError {
        self.error.unwrap_or(LayoutError::TrailingBytes { offset: self.at, count: 0 })
    }

    /// Walks one element.
    pub(crate) fn walk(&mut self, shape: &'static Shape, what: &'static str) -> Step {
        match shape {
            Shape::Bytes(count) => self.skip(*count, what),
            Shape::Seq(parts) => parts.iter().try_for_each(|part| self.walk(part.shape, part.name)),
            Shape::Int64 => self.int(i64::MIN, i64::MAX, what).map(drop),
            Shape::Int32 => self.int(i32::MIN.into(), i32::MAX.into(), what).map(drop),
            Shape::Int63 => self.int(i64::MIN / 2, i64::MAX / 2, what).map(drop),
            Shape::Vector(count, of) => {
                match of {
                    Shape::Bytes(each) => self.skip(count.saturating_mul(*each), what)?,
                    of => (0..*count).try_for_each(|_| self.walk(of, what))?,
                }
                self.unit(what)
            }
            Shape::List { of, .. } => self.list(of, what),
            Shape::Option(of) => match self.tag(2, what)? {
                0 => Ok(()),
                _ => self.walk(of, what),
            },
            Shape::Variant(cases) => {
                let offset = self.at;
                let tag = self.byte(what)?;
                match cases.get(usize::from(tag)) {
                    Some(of) => self.walk(of, what),
                    None => self.fail(LayoutError::UnknownTag { offset, what, tag }),
                }
            }
            Shape::Bool => self.bool(what),
            Shape::Unit => self.unit(what),
            Shape::Text { .. } => {
                let length = self.length(what)?;
                self.skip(length, what)
            }
            Shape::Digest(length) => {
                let offset = self.at;
                let found = self.length(what)?;
                if found != *length {
                    let (len, only) = (found as u64, *length as u64);
                    return self.fail(LayoutError::WrongLength { offset, what, len, min: only, max: only });
                }
                self.skip(found, what)
            }
            Shape::OneOrTwo(of) => {
                let offset = self.at;
                match self.rest().first_chunk::<4>().copied() {
                    Some(ONE) => {
                        self.skip(4, what)?;
                        self.walk(of, what)
                    }
                    Some(TWO) => {
                        self.skip(4, what)?;
                        self.walk(of, what)?;
                        self.walk(of, what)
                    }
                    Some([tag, ..]) => self.fail(LayoutError::UnknownTag { offset, what, tag }),
                    None => self.skip(4, what),
                }
            }
            Shape::Nested(of) => {
                if self.nested >= MAX_NESTED {
                    return self.fail(LayoutError::TooDeep { offset: self.at, what, max: MAX_NESTED });
                }
                self.nested += 1;
                self.walk(of, what)?;
                self.nested -= 1;
                Ok(())
            }
            Shape::Marked(mark, of) => {
                let start = self.at;
                self.walk(of, what)?;
                self.visitor.mark(*mark, start..self.at);
                Ok(())
            }
        }
    }

    fn list(&mut self, of: &'static Shape, what: &'static str) -> Step {
        let count = self.count(what)?;
        match of {
            Shape::Bytes(each) => self.skip(count.saturating_mul(*each), what),
            of => (0..count).try_for_each(|_| self.walk(of, what)),
        }
    }

    /// The length of a list whose elements take at least a byte each: not more than bytes are left.
    pub(crate) fn count(&mut self, what: &'static str) -> Result<usize, Stopped> {
        let count = self.length(what)?;
        let left = self.rest().len();
        if count > left {
            let offset = self.bytes.len();
            return self.fail(LayoutError::UnexpectedEnd { offset, what, missing: count - left });
        }
        Ok(count)
    }

    /// A length, of whatever it is.
    pub(crate) fn length(&mut self, what: &'static str) -> Result<usize, Stopped> {
        let offset = self.at;
        if let Some(small @ 0..0x80) = self.rest().first().copied() {
            self.at += 1;
            return Ok(usize::from(small));
        }
        let (value, minimal): (u64, _) = match self.byte(what)? {
            0xfe => {
                let value = u16::from_le_bytes(self.array(what)?);
                (value.into(), value >= 0x80)
            }
            0xfd => {
                let value = u32::from_le_bytes(self.array(what)?);
                (value.into(), value > u16::MAX.into())
            }
            0xfc => {
                let value = u64::from_le_bytes(self.array(what)?);
                (value, value > u32::MAX.into())
            }
            code => return self.fail(LayoutError::InvalidInteger { offset, what, code }),
        };
        if !minimal {
            self.long(offset, Number::Length(value), what)?;
        }
        match usize::try_from(value) {
            Ok(length) => Ok(length),
            Err(_) => self.fail(LayoutError::WrongLength { offset, what, len: value, min: 0, max: usize::MAX as u64 }),
        }
    }

    /// An integer within bounds.
    #[inline]
    fn int(&mut self, min: i64, max: i64, what: &'static str) -> Result<i64, Stopped> {
        let offset = self.at;
        let (value, minimal): (i64, _) = match self.byte(what)? {
            0xfc => {
                let value = i64::from_le_bytes(self.array(what)?);
                (value, i32::try_from(value).is_err())
            }
            small @ 0..0x80 => (small.into(), true),
            0xff => {
                let value = i8::from_le_bytes(self.array(what)?);
                (value.into(), value < 0)
            }
            0xfe => {
                let value = i16::from_le_bytes(self.array(what)?);
                (value.into(), !(-0x80..0x80).contains(&value))
            }
            0xfd => {
                let value = i32::from_le_bytes(self.array(what)?);
                (value.into(), i16::try_from(value).is_err())
            }
            code => return self.fail(LayoutError::InvalidInteger { offset, what, code }),
        };
        if !minimal {
            self.long(offset, Number::Int(value), what)?;
        }
        if value < min || value > max {
            return self.fail(LayoutError::OutOfRange { offset, what, value, min, max });
        }
        Ok(value)
    }

    #[cold]
    fn long(&mut self, offset: usize, value: Number, what: &'static str) -> Step {
        if !V::TOLERANT {
            return self.fail(LayoutError::NotCanonical { offset, what });
        }
        self.visitor.long_integer(offset..self.at, value);
        Ok(())
    }

    /// A tag below `count`.
    pub(crate) fn tag(&mut self, count: u8, what: &'static str) -> Result<u8, Stopped> {
        let offset = self.at;
        let tag = self.byte(what)?;
        if tag < count {
            return Ok(tag);
        }
        self.fail(LayoutError::UnknownTag { offset, what, tag })
    }

    fn bool(&mut self, what: &'static str) -> Step {
        let offset = self.at;
        match self.byte(what)? {
            0 | 1 => Ok(()),
            value => self.fail(LayoutError::InvalidBool { offset, what, value }),
        }
    }

    fn unit(&mut self, what: &'static str) -> Step {
        self.tag(1, what).map(drop)
    }

    #[inline]
    fn byte(&mut self, what: &'static str) -> Result<u8, Stopped> {
        match self.bytes.get(self.at) {
            Some(byte) => {
                self.at += 1;
                Ok(*byte)
            }
            None => self.end(1, what),
        }
    }

    #[inline]
    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Stopped> {
        match self.rest().first_chunk::<N>() {
            Some(array) => {
                self.at += N;
                Ok(*array)
            }
            None => self.end(N, what),
        }
    }

    #[inline]
    fn skip(&mut self, count: usize, what: &'static str) -> Step {
        if count > self.bytes.len() - self.at {
            return self.end(count, what);
        }
        self.at += count;
        Ok(())
    }

    #[inline]
    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Checks that nothing is left.
    pub(crate) fn finish(&mut self) -> Step {
        match self.rest().len() {
            0 => Ok(()),
            count => self.fail(LayoutError::TrailingBytes { offset: self.at, count }),
        }
    }

    #[cold]
    fn end<T>(&mut self, needed: usize, what: &'static str) -> Result<T, Stopped> {
        let missing = needed.saturating_sub(self.rest().len());
        self.fail(LayoutError::UnexpectedEnd { offset: self.bytes.len(), what, missing })
    }

    #[cold]
    pub(crate) fn fail<T>(&mut self, error: LayoutError) -> Result<T, Stopped> {
        self.error = Some(error);
        Err(Stopped)
    }
}

/// Walks what is exactly one element, and gives back the visitor.
pub(crate) fn exactly<V: Visitor>(
    bytes: &[u8],
    shape: &'static Shape,
    what: &'static str,
    visitor: V,
) -> Result<V, LayoutError> {
    let mut walker = Walker::new(bytes, visitor);
    match walker.walk(shape, what).and_then(|()| walker.finish()) {
        Ok(()) => Ok(walker.visitor),
        Err(stopped) => Err(walker.error(stopped)),
    }
}

/// The value of an integer that was walked.
pub(crate) fn int_value(bytes: &[u8]) -> i64 {
    match bytes {
        [small] => i64::from(*small),
        [_, value] => i8::from_le_bytes([*value]).into(),
        [_, a, b] => i16::from_le_bytes([*a, *b]).into(),
        [_, a, b, c, d] => i32::from_le_bytes([*a, *b, *c, *d]).into(),
        [_, rest @ ..] => rest.first_chunk().copied().map_or(0, i64::from_le_bytes),
        [] => 0,
    }
}
