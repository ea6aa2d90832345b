//! Which instructions a kernel may use, found at run time.
#![allow(unsafe_code)]

/// A set of instructions that this machine was found to have; a value is the proof, so it cannot be made elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Isa(Level);

/// The instruction sets told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// What the compiler's target guarantees.
    Portable,
    /// AVX2, FMA and F16C: 16 registers of 8 floats.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 F, DQ and VL besides AVX2: 32 registers of 16 floats.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

/// A computation whose `run` is marked `#[inline(always)]`, so that it is compiled anew, and vectorised, for each [`Isa`].
///
/// So must be all that `run` calls in its loops; what sits in a closure handed to the standard library may not be
/// inlined, and its `mul_add` is then a call to libm, twenty times slower.
pub(crate) trait Kernel {
    /// What the computation returns.
    type Output;

    /// Computes; must not branch on the instruction set.
    fn run(self) -> Self::Output;
}

impl Isa {
    /// The scalar twin, on every machine.
    pub(crate) const PORTABLE: Isa = Isa(Level::Portable);

    /// The best set of this machine; a load and a test, the standard library keeps the answer.
    pub(crate) fn detected() -> Isa {
        #[cfg(target_arch = "x86_64")]
        {
            if has_avx2() && has_avx512() {
                return Isa(Level::Avx512);
            }
            if has_avx2() {
                return Isa(Level::Avx2);
            }
        }
        Isa::PORTABLE
    }

    /// Every set of this machine, the portable one first: what tests compare.
    #[cfg(test)]
    pub(crate) fn available() -> Vec<Isa> {
        let mut sets = vec![Isa::PORTABLE];
        #[cfg(target_arch = "x86_64")]
        {
            sets.extend(has_avx2().then_some(Isa(Level::Avx2)));
            sets.extend((has_avx2() && has_avx512()).then_some(Isa(Level::Avx512)));
        }
        sets
    }

    /// Which set it is.
    pub(crate) fn level(self) -> Level {
        self.0
    }

    /// Runs `kernel` compiled for this set.
    #[inline]
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            Level::Portable => kernel.run(),
            // SAFETY: an `Isa` of this level exists only where AVX2 and FMA were detected.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { run_avx2(kernel) },
            // SAFETY: an `Isa` of this level exists only where these AVX-512 parts, AVX2 and FMA were detected.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe { run_avx512(kernel) },
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c")
}

#[cfg(target_arch = "x86_64")]
fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq") && is_x86_feature_detected!("avx512vl")
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
fn run_avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512dq,avx512vl")]
fn run_avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run()
}
