"""The CIFAR ResNet of He et al. (arXiv:1512.03385, section 4.2) in PyTorch: 6n+2 layers, projection shortcuts."""

from torch import nn
from torchvision.models.resnet import BasicBlock, conv1x1, conv3x3


class CIFARResNet(nn.Module):
    def __init__(self, n, classes=10):
        super().__init__()
        self.conv1 = conv3x3(3, 16)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = self.stage(16, 16, n, 1)
        self.layer2 = self.stage(16, 32, n, 2)
        self.layer3 = self.stage(32, 64, n, 2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(64, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @staticmethod
    def stage(inputs, outputs, n, stride):
        shortcut = None
        if stride != 1 or inputs != outputs:
            shortcut = nn.Sequential(conv1x1(inputs, outputs, stride), nn.BatchNorm2d(outputs))
        blocks = [BasicBlock(inputs, outputs, stride, shortcut)]
        blocks += [BasicBlock(outputs, outputs) for _ in range(n - 1)]
        return nn.Sequential(*blocks)

    def forward(self, x):
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(self.avgpool(x).flatten(1))
