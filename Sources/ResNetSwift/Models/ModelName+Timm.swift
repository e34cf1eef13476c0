// timm's ResNets: torchvision's blocks with other depths, stems and shortcuts.
//
//     letter   stem: three 3x3 convolutions of   shortcut where the picture halves
//     c        32, 32, 64                        1x1 of stride 2
//     d        32, 32, 64                        average of 2x2, 1x1
//     s        64, 64, 128                       1x1 of stride 2
//     t        24, 32, 64                        average of 2x2, 1x1
//
// se and eca scale the channels of each block's branch; aa averages 2x2 after a 3x3 convolution instead of striding in it, blur
// blurs 3x3; rs has a convolution in place of the stem's pool.
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
        case .resnet50_gn: .resnet50.with { $0.normGroups = 32 }
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
        default: attentive ?? smoothed ?? revisited
        }
    }

    private var attentive: ResNetConfig? {
        switch self {
        case .seresnet18: .resnet18.se
        case .seresnet34: .resnet34.se
        case .seresnet50: .resnet50.se
        case .seresnet50t: .resnet50.t.se
        case .seresnet101: .resnet101.se
        case .seresnet152: .resnet152.se
        case .seresnet152d: .resnet152.d.se
        case .seresnet200d: .bottleneck([3, 24, 36, 3]).d.se
        case .seresnet269d: .bottleneck([3, 30, 48, 8]).d.se
        case .seresnext26d_32x4d: .bottleneck([2, 2, 2, 2], 32, 4).d.se
        case .seresnext26t_32x4d: .bottleneck([2, 2, 2, 2], 32, 4).t.se
        case .seresnext50_32x4d: .resnext50_32x4d.se
        case .seresnext101_32x4d: .bottleneck([3, 4, 23, 3], 32, 4).se
        case .seresnext101_32x8d: .resnext101_32x8d.se
        case .seresnext101_64x4d: .resnext101_64x4d.se
        case .seresnext101d_32x8d: .resnext101_32x8d.d.se
        case .ecaresnet26t: .bottleneck([2, 2, 2, 2]).t.eca
        case .ecaresnet50d: .resnet50.d.eca
        case .ecaresnet50t: .resnet50.t.eca
        case .ecaresnet101d: .resnet101.d.eca
        case .ecaresnet200d: .bottleneck([3, 24, 36, 3]).d.eca
        case .ecaresnet269d: .bottleneck([3, 30, 48, 8]).d.eca
        case .ecaresnetlight: .bottleneck([1, 1, 11, 3]).eca.with { $0.averagesShortcuts = true }
        case .ecaresnext26t_32x4d: .bottleneck([2, 2, 2, 2], 32, 4).t.eca
        case .ecaresnext50t_32x4d: .resnext50_32x4d.t.eca
        default: nil
        }
    }

    private var smoothed: ResNetConfig? {
        switch self {
        case .resnetblur18: .resnet18.blurred
        case .resnetblur50: .resnet50.blurred
        case .resnetblur50d: .resnet50.d.blurred
        case .resnetblur101d: .resnet101.d.blurred
        case .resnetaa34d: .resnet34.d.aa
        case .resnetaa50: .resnet50.aa
        case .resnetaa50d: .resnet50.d.aa
        case .resnetaa101d: .resnet101.d.aa
        case .seresnetaa50d: .resnet50.d.se.aa
        case .seresnextaa101d_32x8d: .resnext101_32x8d.d.se.aa
        case .seresnextaa201d_32x8d: .bottleneck([3, 24, 36, 4], 32, 8).s.se.aa.with { $0.averagesShortcuts = true }
        default: nil
        }
    }

    private var revisited: ResNetConfig? {
        switch self {
        case .resnetrs50: .resnet50.d.rs
        case .resnetrs101: .resnet101.d.rs
        case .resnetrs152: .resnet152.d.rs
        case .resnetrs200: .bottleneck([3, 24, 36, 3]).d.rs
        case .resnetrs270: .bottleneck([4, 29, 53, 4]).d.rs
        case .resnetrs350: .bottleneck([4, 36, 72, 4]).d.rs
        case .resnetrs420: .bottleneck([4, 44, 87, 4]).d.rs
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

    fileprivate var se: ResNetConfig { with { $0.attention = .squeeze(reduction: 16) } }
    fileprivate var eca: ResNetConfig { with { $0.attention = .efficient } }
    fileprivate var aa: ResNetConfig { with { $0.smoothing = .average } }
    fileprivate var blurred: ResNetConfig { with { $0.smoothing = .blur } }
    fileprivate var rs: ResNetConfig {
        with {
            $0.attention = .squeeze(reduction: 4)
            $0.convolvesInPlaceOfPool = true
        }
    }

    private func deep(_ widths: [Int], averages: Bool) -> ResNetConfig {
        with {
            $0.stem = .deep
            $0.stemWidths = widths
            $0.averagesShortcuts = averages
        }
    }
}
