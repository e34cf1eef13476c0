import ResNetSwift
print("resnet")
