// timm's ResNets: torchvision's blocks with other depths, stems and shortcuts.
//
//     letter   stem: three 3x3 convolutions of   shortcut where the picture halves
//     c        32, 32, 64                        1x1 of stride 2
//     d        32, 32, 64                        average of 2x2, 1x1
//     s        64, 64, 128                       1x1 of stride 2
//     t        24, 32, 64                        average of 2x2, 1x1
//
// Source: timm/models/resnet.py, https://github.com/huggingface/pytorch-image-models

import ResNetGraph

extension ModelName {
    /// The configuration of one of timm's; nil for all others.
    var timm: ResNetConfig? {
        switch self {
        case .resnet10t: .basic([1, 1, 1, 1]).t
        case .resnet14t: .bottleneck([1, 1, 1, 1]).t
        case .resnet18d: .resnet18.d
        case .resnet26: .bottleneck([2, 2, 2, 2])
        case .resnet26d: .bottleneck([2, 2, 2, 2]).d
        case .resnet26t: .bottleneck([2, 2, 2, 2]).t
        case .resnet34d: .resnet34.d
        case .resnet50c: .resnet50.c
        case .resnet50d: .resnet50.d
        case .resnet50s: .resnet50.s
        case .resnet50t: .resnet50.t
        case .resnet101c: .resnet101.c
        case .resnet101d: .resnet101.d
        case .resnet101s: .resnet101.s
        case .resnet152c: .resnet152.c
        case .resnet152d: .resnet152.d
        case .resnet152s: .resnet152.s
        case .resnet200: .bottleneck([3, 24, 36, 3])
        case .resnet200d: .bottleneck([3, 24, 36, 3]).d
        case .resnext50d_32x4d: .resnext50_32x4d.d
        case .resnext101_32x4d: .bottleneck([3, 4, 23, 3], 32, 4)
        case .resnext101_32x16d: .bottleneck([3, 4, 23, 3], 32, 16)
        case .resnext101_32x32d: .bottleneck([3, 4, 23, 3], 32, 32)
        default: nil
        }
    }
}

extension ResNetConfig {
    fileprivate static func basic(_ nBlocks: [Int]) -> ResNetConfig { ResNetConfig(.basic, nBlocks) }

    fileprivate static func bottleneck(_ nBlocks: [Int], _ groups: Int = 1, _ width: Int = 64) -> ResNetConfig {
        ResNetConfig(.bottleneck, nBlocks, groups, width)
    }

    fileprivate var c: ResNetConfig { deep([32, 32, 64], averages: false) }
    fileprivate var d: ResNetConfig { deep([32, 32, 64], averages: true) }
    fileprivate var s: ResNetConfig { deep([64, 64, 128], averages: false) }
    fileprivate var t: ResNetConfig { deep([24, 32, 64], averages: true) }

    private func deep(_ widths: [Int], averages: Bool) -> ResNetConfig {
        with {
            $0.stem = .deep
            $0.stemWidths = widths
            $0.averagesShortcuts = averages
        }
    }
}
