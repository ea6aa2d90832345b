//! Where tensors live. The one file that names Burn's backends.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;

use burn::backend::Flex;
use burn::tensor::{Device, DeviceType, Tensor, TensorData};

/// A device as people write it: `flex`, `wgpu`, `cuda:1`, `rocm`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum DeviceSpec {
    /// The CPU, always there.
    #[default]
    Flex,
    /// A GPU through Vulkan, Metal or DirectX, by its index among the discrete ones; none takes the best.
    Wgpu(Option<usize>),
    /// An NVIDIA GPU by its index.
    Cuda(usize),
    /// An AMD GPU by its index.
    Rocm(usize),
}

/// Why a device can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// The text names no device.
    #[error(
        "`{0}` is no device: use `flex` (CPU), `wgpu`, `cuda` or `rocm`, the last three with `:INDEX` where there are several"
    )]
    Unknown(String),
    /// This binary was built without the backend.
    #[error("device `{spec}` is not in this binary: build it with `--features {feature}`")]
    NotCompiledIn {
        /// The device asked for.
        spec: DeviceSpec,
        /// The cargo feature that brings it.
        feature: &'static str,
    },
    /// The backend is there, the device or its driver is not.
    #[error("device `{spec}` was not found ({found} of its kind are here): {driver}")]
    NotPresent {
        /// The device asked for.
        spec: DeviceSpec,
        /// How many devices of that kind there are.
        found: usize,
        /// The driver to install.
        driver: &'static str,
    },
    /// The device is there and failed at its first operation.
    #[error("device `{spec}` is present but failed at its first operation: {driver}")]
    Broken {
        /// The device asked for.
        spec: DeviceSpec,
        /// The driver to look at.
        driver: &'static str,
    },
}

/// What one kind of device is like on this machine.
#[derive(Debug)]
pub struct Probe {
    /// The device.
    pub spec: DeviceSpec,
    /// Whether it works, or why not.
    pub state: Result<(), DeviceError>,
}

/// Tries one device of each kind.
pub fn probe() -> Vec<Probe> {
    let specs = [DeviceSpec::Flex, DeviceSpec::Wgpu(None), DeviceSpec::Cuda(0), DeviceSpec::Rocm(0)];
    specs.into_iter().map(|spec| Probe { spec, state: open(spec).map(drop) }).collect()
}

/// Opens a device and runs one operation on it.
///
/// # Errors
/// When the backend is not compiled in, the device or its driver is missing, or the operation fails. Never panics.
pub(crate) fn open(spec: DeviceSpec) -> Result<Device, DeviceError> {
    let (device, found) = find(spec)?;
    let driver = spec.driver();
    let device = device.ok_or(DeviceError::NotPresent { spec, found, driver })?;
    let trial = || Tensor::<1>::from_data([1.0f32, 2.0], &device).sum().into_data().try_to_vec::<f32>().ok();
    match catch_unwind(AssertUnwindSafe(trial)) {
        Ok(Some(sum)) if sum == [3.0] => Ok(device),
        _ => Err(DeviceError::Broken { spec, driver }),
    }
}

/// The device, and how many of its kind there are.
fn find(spec: DeviceSpec) -> Result<(Option<Device>, usize), DeviceError> {
    match spec {
        DeviceSpec::Flex => Ok((Some(Device::flex()), 1)),
        #[cfg(feature = "wgpu")]
        DeviceSpec::Wgpu(index) => Ok(nth(DeviceType::Wgpu, index.unwrap_or(0))),
        #[cfg(feature = "cuda")]
        DeviceSpec::Cuda(index) => Ok(nth(DeviceType::Cuda, index)),
        #[cfg(feature = "rocm")]
        DeviceSpec::Rocm(index) => Ok(nth(DeviceType::Rocm, index)),
        #[allow(unreachable_patterns)]
        spec => Err(DeviceError::NotCompiledIn { spec, feature: spec.kind() }),
    }
}

#[allow(dead_code)] // without a GPU feature nothing is looked for
fn nth(kind: DeviceType, index: usize) -> (Option<Device>, usize) {
    let devices = catch_unwind(|| Device::enumerate(kind).into_vec()).unwrap_or_default();
    (devices.get(index).cloned(), devices.len())
}

/// Whether tensors of this device are in main memory, where our own kernels reach them.
pub(crate) fn is_cpu(device: &Device) -> bool {
    *device == Device::flex()
}

/// Reads a tensor's numbers in row-major order, without copying them where they are in main memory and contiguous.
pub(crate) fn with_values<const D: usize, R>(tensor: Tensor<D>, read: impl FnOnce(&[f32]) -> R) -> R {
    match tensor.clone().try_into_primitive::<Flex>() {
        Ok(primitive) => {
            let primitive = primitive.to_contiguous();
            read(primitive.as_slice::<f32>().expect("a contiguous f32 tensor is a slice"))
        }
        Err(_) => read(&values(tensor)),
    }
}

/// A tensor's numbers in row-major order.
pub(crate) fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().try_into_vec().expect("converted to f32 just now")
}

/// A tensor of given numbers in row-major order.
///
/// # Panics
/// When there are not as many numbers as the shape says.
pub(crate) fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), device)
}

impl DeviceSpec {
    /// Whether it is the CPU.
    pub(crate) fn is_cpu(self) -> bool {
        self == DeviceSpec::Flex
    }

    /// The kind, which is also the cargo feature.
    fn kind(self) -> &'static str {
        match self {
            DeviceSpec::Flex => "flex",
            DeviceSpec::Wgpu(_) => "wgpu",
            DeviceSpec::Cuda(_) => "cuda",
            DeviceSpec::Rocm(_) => "rocm",
        }
    }

    fn driver(self) -> &'static str {
        match self {
            DeviceSpec::Flex => "the CPU needs no driver",
            DeviceSpec::Wgpu(_) => "install a Vulkan driver (Debian: mesa-vulkan-drivers) and check it with `vulkaninfo`",
            DeviceSpec::Cuda(_) => "install the NVIDIA driver and the CUDA toolkit (NVRTC) and check them with `nvidia-smi`",
            DeviceSpec::Rocm(_) => "install ROCm (HIP) and check it with `rocminfo`",
        }
    }
}

impl FromStr for DeviceSpec {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let unknown = || DeviceError::Unknown(text.chars().take(80).collect());
        let (kind, index) = match text.split_once(':') {
            Some((kind, index)) => (kind, Some(index.parse::<usize>().map_err(|_| unknown())?)),
            None => (text, None),
        };
        match (kind, index) {
            ("flex" | "cpu", None) => Ok(DeviceSpec::Flex),
            ("wgpu", index) => Ok(DeviceSpec::Wgpu(index)),
            ("cuda", index) => Ok(DeviceSpec::Cuda(index.unwrap_or(0))),
            ("rocm", index) => Ok(DeviceSpec::Rocm(index.unwrap_or(0))),
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for DeviceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceSpec::Flex | DeviceSpec::Wgpu(None) => f.write_str(self.kind()),
            DeviceSpec::Wgpu(Some(index)) | DeviceSpec::Cuda(index) | DeviceSpec::Rocm(index) => {
                write!(f, "{}:{index}", self.kind())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_as_people_write_them() {
        assert_eq!("flex".parse(), Ok(DeviceSpec::Flex));
        assert_eq!("cuda:1".parse(), Ok(DeviceSpec::Cuda(1)));
        for text in ["", "gpu", "cuda:", "cuda:x", "flex:0", "cuda:-1"] {
            assert!(text.parse::<DeviceSpec>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_cpu_always_works() {
        assert!(open(DeviceSpec::Flex).is_ok());
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_device_that_is_not_compiled_in_names_the_feature() {
        let error = open(DeviceSpec::Cuda(0)).expect_err("not compiled in");
        assert!(error.to_string().contains("--features cuda"), "{error}");
    }

    #[test]
    fn values_come_back_in_row_major_order_from_a_view_too() {
        let device = Device::flex();
        let view = tensor(vec![1., 2., 3., 4., 5., 6.], [2, 3], &device).transpose();
        assert_eq!(with_values(view.clone(), <[f32]>::to_vec), [1., 4., 2., 5., 3., 6.]);
        assert_eq!(values(view), [1., 4., 2., 5., 3., 6.]);
    }
}
