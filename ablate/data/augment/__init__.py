"""What is done to training images on their way to the model; the rest is imported where it is used."""

from ablate.data.augment.spec import AugmentInterpolation, AugmentSpec, Policy, RandAugmentSpec, ResizedCropSpec

__all__ = ["AugmentInterpolation", "AugmentSpec", "Policy", "RandAugmentSpec", "ResizedCropSpec"]
