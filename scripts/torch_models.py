"""The networks of this project that torchvision does not have, written in PyTorch, for fixtures and comparisons.

Parameter names equal those of the Swift graphs, so that a state_dict of one loads into the other.
"""

import torch
from torch import nn
from torchvision.models.resnet import BasicBlock


class CIFARResNet(nn.Module):
    """6n+2 layers, arXiv:1512.03385 section 4.2, with projection shortcuts: 3x3 stem, three stages of n blocks."""

    def __init__(self, blocks=(3, 3, 3), classes=10, input_channels=3, channels=(16, 32, 64)):
        super().__init__()
        self.conv1 = nn.Conv2d(input_channels, channels[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels[0])
        self.relu = nn.ReLU(inplace=True)
        inside = channels[0]
        for stage, (count, outside) in enumerate(zip(blocks, channels)):
            members = []
            for index in range(count):
                stride = 2 if stage > 0 and index == 0 else 1
                down = None
                if stride != 1 or inside != outside:
                    down = nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))
                members.append(BasicBlock(inside, outside, stride, down))
                inside = outside
            setattr(self, f"layer{stage + 1}", nn.Sequential(*members))
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(inside, classes)

    def features(self, x):
        x = self.relu(self.bn1(self.conv1(x)))
        return torch.flatten(self.avgpool(self.layer3(self.layer2(self.layer1(x)))), 1)

    def forward(self, x):
        return self.fc(self.features(x))


class AlexNetMini(nn.Module):
    """The small AlexNet of the glomerulus study; `forward` yields logits, `sigmoid` their probabilities."""

    def __init__(self, classes=1, input_channels=3, input_size=(280, 280)):
        super().__init__()
        self.conv1 = nn.Conv2d(input_channels, 96, 13, stride=3, padding=3)
        self.relu1 = nn.ReLU(inplace=True)
        self.pool1 = nn.MaxPool2d(3, 2)
        self.conv2 = nn.Conv2d(96, 256, 5, padding=2)
        self.relu2 = nn.ReLU(inplace=True)
        self.pool2 = nn.MaxPool2d(3, 2)
        self.conv3 = nn.Conv2d(256, 384, 3, padding=1)
        self.relu3 = nn.ReLU(inplace=True)
        self.conv4 = nn.Conv2d(384, 384, 3, padding=1)
        self.relu4 = nn.ReLU(inplace=True)
        self.conv5 = nn.Conv2d(384, 256, 3, padding=1)
        self.relu5 = nn.ReLU(inplace=True)
        self.pool5 = nn.MaxPool2d(2, 2)
        self.flatten = nn.Flatten()
        with torch.no_grad():
            flat = self.trunk(torch.zeros(1, input_channels, *input_size)).shape[1]
        self.fc1 = nn.Linear(flat, 128)
        self.relu6 = nn.ReLU(inplace=True)
        self.fc2 = nn.Linear(128, 128)
        self.relu7 = nn.ReLU(inplace=True)
        self.fc3 = nn.Linear(128, classes)
        self.sigmoid = nn.Sigmoid()

    def trunk(self, x):
        x = self.pool1(self.relu1(self.conv1(x)))
        x = self.pool2(self.relu2(self.conv2(x)))
        x = self.relu4(self.conv4(self.relu3(self.conv3(x))))
        return self.flatten(self.pool5(self.relu5(self.conv5(x))))

    def features(self, x):
        return self.relu7(self.fc2(self.relu6(self.fc1(self.trunk(x)))))

    def forward(self, x):
        return self.fc3(self.features(x))


class ConvReLU(nn.Module):
    """A convolution with bias, padded to keep the size at stride 1, and ReLU."""

    def __init__(self, inside, outside, kernel, stride=1):
        super().__init__()
        self.conv = nn.Conv2d(inside, outside, kernel, stride, padding=kernel // 2)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.relu(self.conv(x))


class Inception(nn.Module):
    """1x1 | 1x1 - 3x3 | 1x1 - 5x5 | 3x3 max pool - 1x1, joined along the channels."""

    def __init__(self, inside, c1, c3_reduce, c3, c5_reduce, c5, pool):
        super().__init__()
        self.branch1 = ConvReLU(inside, c1, 1)
        self.branch2 = nn.Sequential(ConvReLU(inside, c3_reduce, 1), ConvReLU(c3_reduce, c3, 3))
        self.branch3 = nn.Sequential(ConvReLU(inside, c5_reduce, 1), ConvReLU(c5_reduce, c5, 5))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, 1), ConvReLU(inside, pool, 1))

    def forward(self, x):
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class GoogLeNet(nn.Module):
    """arXiv:1409.4842, table 1, without local response normalization and auxiliary classifiers."""

    def __init__(self, classes=1, input_channels=3, sigmoid=True):
        super().__init__()
        self.conv1 = ConvReLU(input_channels, 64, 7, 2)
        self.maxpool1 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv2 = ConvReLU(64, 64, 1)
        self.conv3 = ConvReLU(64, 192, 3)
        self.maxpool2 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.inception3a = Inception(192, 64, 96, 128, 16, 32, 32)
        self.inception3b = Inception(256, 128, 128, 192, 32, 96, 64)
        self.maxpool3 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.inception4a = Inception(480, 192, 96, 208, 16, 48, 64)
        self.inception4b = Inception(512, 160, 112, 224, 24, 64, 64)
        self.inception4c = Inception(512, 128, 128, 256, 24, 64, 64)
        self.inception4d = Inception(512, 112, 144, 288, 32, 64, 64)
        self.inception4e = Inception(528, 256, 160, 320, 32, 128, 128)
        self.maxpool4 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.inception5a = Inception(832, 256, 160, 320, 32, 128, 128)
        self.inception5b = Inception(832, 384, 192, 384, 48, 128, 128)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.dropout = nn.Dropout(0.4)
        self.fc = nn.Linear(1024, classes)
        if sigmoid:
            self.sigmoid = nn.Sigmoid()

    def features(self, x):
        x = self.maxpool1(self.conv1(x))
        x = self.maxpool2(self.conv3(self.conv2(x)))
        x = self.maxpool3(self.inception3b(self.inception3a(x)))
        x = self.inception4c(self.inception4b(self.inception4a(x)))
        x = self.maxpool4(self.inception4e(self.inception4d(x)))
        return torch.flatten(self.avgpool(self.inception5b(self.inception5a(x))), 1)

    def forward(self, x):
        return self.fc(self.dropout(self.features(x)))


def protein_atlas(input_channels=4, labels=28):
    """ResNet-34 without its pool and fc, then the head of the Human Protein Atlas write-up, as `head`."""
    from torchvision.models import resnet34

    model = resnet34()
    model.conv1 = nn.Conv2d(input_channels, 64, 7, 2, 3, bias=False)
    del model.avgpool, model.fc
    model.head = nn.Sequential(
        nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(), nn.Linear(512, 512), nn.ReLU(inplace=True), nn.Dropout(0.5),
        nn.Linear(512, labels),
    )
    trunk = nn.Sequential(
        model.conv1, model.bn1, model.relu, model.maxpool, model.layer1, model.layer2, model.layer3, model.layer4)
    model.forward = lambda x: model.head(trunk(x))
    return model
