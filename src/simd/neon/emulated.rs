//! Emulation of the NEON instructions that the kernel uses, for its tests on other processors; names, signatures and results are
//! those of `std::arch::aarch64` on a little-endian processor.

#![allow(non_camel_case_types, reason = "the names of std::arch::aarch64")]

/// A register of lanes.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(16))]
pub(super) struct Register<T, const N: usize>([T; N]);

/// Half a register of lanes, with half the alignment.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct Half<T, const N: usize>([T; N]);

pub(super) type float32x2_t = Half<f32, 2>;
pub(super) type int32x2_t = Half<i32, 2>;
pub(super) type uint32x2_t = Half<u32, 2>;

/// Half a register of four i16, with half the alignment.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct int16x4_t([i16; 4]);

pub(super) type float32x4_t = Register<f32, 4>;
pub(super) type float64x2_t = Register<f64, 2>;
pub(super) type int16x8_t = Register<i16, 8>;
pub(super) type int32x4_t = Register<i32, 4>;
pub(super) type int64x2_t = Register<i64, 2>;
pub(super) type uint16x8_t = Register<u16, 8>;
pub(super) type uint32x4_t = Register<u32, 4>;
pub(super) type uint64x2_t = Register<u64, 2>;
pub(super) type uint8x16_t = Register<u8, 16>;

/// A table of two registers.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(super) struct uint8x16x2_t(pub(super) uint8x16_t, pub(super) uint8x16_t);

/// A table of four registers.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(super) struct uint8x16x4_t(
    pub(super) uint8x16_t,
    pub(super) uint8x16_t,
    pub(super) uint8x16_t,
    pub(super) uint8x16_t,
);

impl<T: Copy, const N: usize> Register<T, N> {
    /// Applies a function lane by lane.
    fn with(self, other: Self, f: impl Fn(T, T) -> T) -> Self {
        Self(std::array::from_fn(|i| f(self.0[i], other.0[i])))
    }
}

/// Defines loads from memory that need not be aligned.
macro_rules! loads {
    ($($name:ident($from:ty) -> $to:ty;)*) => {$(
        /// Reads as many values as there are lanes.
        ///
        /// # Safety
        /// The values are readable.
        pub(super) unsafe fn $name(from: *const $from) -> $to {
            // SAFETY: the caller vouches for the values, and every pattern of bits is a value.
            unsafe { from.cast::<$to>().read_unaligned() }
        }
    )*};
}

loads! {
    vld1_f32(f32) -> float32x2_t;
    vld1q_f32(f32) -> float32x4_t;
    vld1q_f64(f64) -> float64x2_t;
    vld1q_u64(u64) -> uint64x2_t;
    vld1q_u8(u8) -> uint8x16_t;
    vld1q_u8_x2(u8) -> uint8x16x2_t;
    vld1q_u8_x4(u8) -> uint8x16x4_t;
}

/// Reads one value into all lanes.
///
/// # Safety
/// The value is readable.
pub(super) unsafe fn vld1q_dup_s32(from: *const i32) -> int32x4_t {
    // SAFETY: the caller vouches for the value.
    Register([unsafe { from.read_unaligned() }; 4])
}

/// Defines stores to memory that need not be aligned.
macro_rules! stores {
    ($($name:ident($to:ty, $from:ty);)*) => {$(
        /// Writes all lanes.
        ///
        /// # Safety
        /// The memory is writable.
        pub(super) unsafe fn $name(to: *mut $to, from: $from) {
            // SAFETY: the caller vouches for the memory.
            unsafe { to.cast::<$from>().write_unaligned(from) }
        }
    )*};
}

stores! {
    vst1q_f32(f32, float32x4_t);
    vst1q_f64(f64, float64x2_t);
    vst1q_u64(u64, uint64x2_t);
    vst1q_u8(u8, uint8x16_t);
}

/// Defines conversions to other lanes with the same bits.
macro_rules! reinterpretations {
    ($($name:ident($from:ty) -> $to:ty;)*) => {$(
        /// Returns the same 128 bits.
        pub(super) fn $name(from: $from) -> $to {
            // SAFETY: both types are 128 bits, and every pattern of bits is a value.
            unsafe { std::mem::transmute::<$from, $to>(from) }
        }
    )*};
}

reinterpretations! {
    vreinterpretq_f32_f64(float64x2_t) -> float32x4_t;
    vreinterpretq_f32_u8(uint8x16_t) -> float32x4_t;
    vreinterpretq_f64_f32(float32x4_t) -> float64x2_t;
    vreinterpretq_f64_u64(uint64x2_t) -> float64x2_t;
    vreinterpretq_u64_f64(float64x2_t) -> uint64x2_t;
    vreinterpretq_s16_u8(uint8x16_t) -> int16x8_t;
    vreinterpretq_u64_s32(int32x4_t) -> uint64x2_t;
    vreinterpretq_u64_s64(int64x2_t) -> uint64x2_t;
    vreinterpretq_u64_u8(uint8x16_t) -> uint64x2_t;
    vreinterpretq_u8_s16(int16x8_t) -> uint8x16_t;
    vreinterpretq_u8_u16(uint16x8_t) -> uint8x16_t;
    vreinterpretq_u8_u32(uint32x4_t) -> uint8x16_t;
    vreinterpretq_u8_u64(uint64x2_t) -> uint8x16_t;
}

/// Defines functions that copy one value into all lanes.
macro_rules! copies {
    ($($name:ident($from:ty) -> $to:ty;)*) => {$(
        /// Copies the value into all lanes.
        pub(super) fn $name(from: $from) -> $to {
            Register([from; _])
        }
    )*};
}

copies! {
    vdupq_n_f32(f32) -> float32x4_t;
    vdupq_n_f64(f64) -> float64x2_t;
    vdupq_n_s16(i16) -> int16x8_t;
    vdupq_n_u64(u64) -> uint64x2_t;
    vdupq_n_u8(u8) -> uint8x16_t;
}

/// Returns one lane.
pub(super) fn vgetq_lane_u64<const LANE: i32>(a: uint64x2_t) -> u64 {
    a.0[LANE as usize]
}

/// Computes `a & b`.
pub(super) fn vandq_u64(a: uint64x2_t, b: uint64x2_t) -> uint64x2_t {
    a.with(b, |a, b| a & b)
}

/// Computes `a | b`.
pub(super) fn vorrq_u64(a: uint64x2_t, b: uint64x2_t) -> uint64x2_t {
    a.with(b, |a, b| a | b)
}

/// Computes `a ^ b`.
pub(super) fn veorq_u64(a: uint64x2_t, b: uint64x2_t) -> uint64x2_t {
    a.with(b, |a, b| a ^ b)
}

/// Computes `a & !b`.
pub(super) fn vbicq_u64(a: uint64x2_t, b: uint64x2_t) -> uint64x2_t {
    a.with(b, |a, b| a & !b)
}

/// Computes `a & b`.
pub(super) fn vandq_u8(a: uint8x16_t, b: uint8x16_t) -> uint8x16_t {
    a.with(b, |a, b| a & b)
}

/// Computes `a | b`.
pub(super) fn vorrq_u8(a: uint8x16_t, b: uint8x16_t) -> uint8x16_t {
    a.with(b, |a, b| a | b)
}

/// Computes `a - b`, wrapping around.
pub(super) fn vsubq_u8(a: uint8x16_t, b: uint8x16_t) -> uint8x16_t {
    a.with(b, u8::wrapping_sub)
}

/// Returns all ones where `a` and `b` have a bit in common, else zero.
pub(super) fn vtstq_u8(a: uint8x16_t, b: uint8x16_t) -> uint8x16_t {
    a.with(b, |a, b| if a & b == 0 { 0 } else { u8::MAX })
}

/// Returns the sums of neighbours, wrapping around: those of `a`, then those of `b`.
pub(super) fn vpaddq_u8(a: uint8x16_t, b: uint8x16_t) -> uint8x16_t {
    let both = [a.0, b.0];
    let both = both.as_flattened();
    Register(std::array::from_fn(|i| both[2 * i].wrapping_add(both[2 * i + 1])))
}

/// Returns the even lanes: those of `a`, then those of `b`.
pub(super) fn vuzp1q_u8(a: uint8x16_t, b: uint8x16_t) -> uint8x16_t {
    let both = [a.0, b.0];
    Register(std::array::from_fn(|i| both.as_flattened()[2 * i]))
}

/// Returns all ones where `a > b`, else zero.
pub(super) fn vcgtq_f32(a: float32x4_t, b: float32x4_t) -> uint32x4_t {
    Register(std::array::from_fn(|i| if a.0[i] > b.0[i] { u32::MAX } else { 0 }))
}

/// Returns all ones where `a == b`, else zero.
pub(super) fn vceqq_f32(a: float32x4_t, b: float32x4_t) -> uint32x4_t {
    Register(std::array::from_fn(|i| if a.0[i] == b.0[i] { u32::MAX } else { 0 }))
}

/// Copies the value into both lanes of half a register.
pub(super) fn vdup_n_f32(from: f32) -> float32x2_t {
    Half([from; 2])
}

/// Returns the same 64 bits.
pub(super) fn vreinterpret_s32_u32(a: uint32x2_t) -> int32x2_t {
    Half(a.0.map(u32::cast_signed))
}

/// Extends both lanes to 64 bits, with their sign.
pub(super) fn vmovl_s32(a: int32x2_t) -> int64x2_t {
    Register(a.0.map(i64::from))
}

/// Returns all ones where `a <= b`, else zero.
pub(super) fn vcle_f32(a: float32x2_t, b: float32x2_t) -> uint32x2_t {
    Half(std::array::from_fn(|i| if a.0[i] <= b.0[i] { u32::MAX } else { 0 }))
}

/// Returns all ones where `a == b`, else zero.
pub(super) fn vceq_f32(a: float32x2_t, b: float32x2_t) -> uint32x2_t {
    Half(std::array::from_fn(|i| if a.0[i] == b.0[i] { u32::MAX } else { 0 }))
}

/// Computes `a * b`.
pub(super) fn vmulq_f64(a: float64x2_t, b: float64x2_t) -> float64x2_t {
    a.with(b, |a, b| a * b)
}

/// Computes `a + b`.
pub(super) fn vaddq_f64(a: float64x2_t, b: float64x2_t) -> float64x2_t {
    a.with(b, |a, b| a + b)
}

/// Computes `a - b`.
pub(super) fn vsubq_f64(a: float64x2_t, b: float64x2_t) -> float64x2_t {
    a.with(b, |a, b| a - b)
}

/// Returns the bits of `a` where those of the mask are set, else those of `b`.
pub(super) fn vbslq_f64(mask: uint64x2_t, a: float64x2_t, b: float64x2_t) -> float64x2_t {
    let bits = vorrq_u64(
        vandq_u64(vreinterpretq_u64_f64(a), mask),
        vbicq_u64(vreinterpretq_u64_f64(b), mask),
    );
    vreinterpretq_f64_u64(bits)
}

/// Returns all ones where `a > b`, else zero.
pub(super) fn vcgtq_s16(a: int16x8_t, b: int16x8_t) -> uint16x8_t {
    Register(std::array::from_fn(|i| if a.0[i] > b.0[i] { u16::MAX } else { 0 }))
}

/// Returns all ones where `a == b`, else zero.
pub(super) fn vceqq_s16(a: int16x8_t, b: int16x8_t) -> uint16x8_t {
    Register(std::array::from_fn(|i| if a.0[i] == b.0[i] { u16::MAX } else { 0 }))
}

/// Returns the lower of `a` and `b`.
pub(super) fn vminq_s16(a: int16x8_t, b: int16x8_t) -> int16x8_t {
    a.with(b, i16::min)
}

/// Computes `a - b`.
pub(super) fn vsubq_f32(a: float32x4_t, b: float32x4_t) -> float32x4_t {
    a.with(b, |a, b| a - b)
}

/// Computes `a * b`.
pub(super) fn vmulq_f32(a: float32x4_t, b: float32x4_t) -> float32x4_t {
    a.with(b, |a, b| a * b)
}

/// Rounds to the nearest integers, of two equally near ones to the even one; saturates, and gives 0 for NaN.
pub(super) fn vcvtnq_s32_f32(a: float32x4_t) -> int32x4_t {
    Register(a.0.map(|a| a.round_ties_even() as i32))
}

/// Converts a number to the nearest i16.
fn saturate(a: i32) -> i16 {
    a.clamp(i16::MIN.into(), i16::MAX.into()) as i16
}

/// Converts all lanes to the nearest i16.
pub(super) fn vqmovn_s32(a: int32x4_t) -> int16x4_t {
    int16x4_t(a.0.map(saturate))
}

/// Returns `low`, and all lanes of `high` converted to the nearest i16.
pub(super) fn vqmovn_high_s32(low: int16x4_t, high: int32x4_t) -> int16x8_t {
    let both = [low.0, high.0.map(saturate)];
    Register(std::array::from_fn(|i| both.as_flattened()[i]))
}

/// Rounds both lanes to the nearest f32.
pub(super) fn vcvt_f32_f64(a: float64x2_t) -> float32x2_t {
    Half(a.0.map(|a| a as f32))
}

/// Returns `low`, and both lanes of `high` rounded to the nearest f32.
pub(super) fn vcvt_high_f32_f64(low: float32x2_t, high: float64x2_t) -> float32x4_t {
    Register([low.0[0], low.0[1], high.0[0] as f32, high.0[1] as f32])
}

/// Returns the even lanes of both, alternating.
pub(super) fn vtrn1q_f32(a: float32x4_t, b: float32x4_t) -> float32x4_t {
    Register([a.0[0], b.0[0], a.0[2], b.0[2]])
}

/// Returns the odd lanes of both, alternating.
pub(super) fn vtrn2q_f32(a: float32x4_t, b: float32x4_t) -> float32x4_t {
    Register([a.0[1], b.0[1], a.0[3], b.0[3]])
}

/// Returns the first lanes of both.
pub(super) fn vtrn1q_f64(a: float64x2_t, b: float64x2_t) -> float64x2_t {
    Register([a.0[0], b.0[0]])
}

/// Returns the second lanes of both.
pub(super) fn vtrn2q_f64(a: float64x2_t, b: float64x2_t) -> float64x2_t {
    Register([a.0[1], b.0[1]])
}

/// Looks up bytes of a table; an index beyond it gives the byte of `beyond`.
fn look_up(table: &[u8], indices: uint8x16_t, beyond: uint8x16_t) -> uint8x16_t {
    indices.with(beyond, |index, beyond| {
        *table.get(usize::from(index)).unwrap_or(&beyond)
    })
}

/// Looks up bytes of `table`; an index beyond it gives zero.
pub(super) fn vqtbl1q_u8(table: uint8x16_t, indices: uint8x16_t) -> uint8x16_t {
    look_up(&table.0, indices, vdupq_n_u8(0))
}

/// Looks up bytes of two registers; an index beyond them gives zero.
pub(super) fn vqtbl2q_u8(table: uint8x16x2_t, indices: uint8x16_t) -> uint8x16_t {
    look_up([table.0.0, table.1.0].as_flattened(), indices, vdupq_n_u8(0))
}

/// Looks up bytes of four registers; an index beyond them gives zero.
pub(super) fn vqtbl4q_u8(table: uint8x16x4_t, indices: uint8x16_t) -> uint8x16_t {
    vqtbx4q_u8(vdupq_n_u8(0), table, indices)
}

/// Looks up bytes of four registers; an index beyond them gives the byte of `a`.
pub(super) fn vqtbx4q_u8(a: uint8x16_t, table: uint8x16x4_t, indices: uint8x16_t) -> uint8x16_t {
    let table = [table.0.0, table.1.0, table.2.0, table.3.0];
    look_up(table.as_flattened(), indices, a)
}
