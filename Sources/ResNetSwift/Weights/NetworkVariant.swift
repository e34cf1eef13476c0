// Where a network departs from the one that its names and shapes show, as a checkpoint of this library notes it.

/// What names and shapes do not show.
enum NetworkVariant: String, Sendable, Hashable {
    /// A bottleneck strides in its first 1x1 convolution (He et al., 2015; transformers' `downsample_in_bottleneck`) instead of
    /// its 3x3 (ResNet v1.5, as in torchvision and timm).
    case stridesInFirstConvolution
}
