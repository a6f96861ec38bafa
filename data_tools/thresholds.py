"""What counts as the same, and as an outlier, unless the user says otherwise; nothing else.

Measured with perceptual hashes and a MobileFaceNet trained with ArcFace; counts are of images.
"""

SEARCHED_BITS = 10
"""Of 64: differences in a hash's first word up to which its other three are looked at."""

SAME_BITS = 48
"""Of 256: the most by which two copies of one picture differ (see `perceptual`). Of 42 million
pairs of crops of different people none came as near; the first was 52 bits away."""

SAME_PERSON = 0.6
"""The cosine from which two embeddings show one person. Between two sets of 4,536 and 7,701 images,
nearest neighbours thin out up to 0.55 (1,183 above 0.4, 269 above 0.5, 208 above 0.55), and above
it hardly any more (175 above 0.6, 98 above 0.7): chance ends where people begin."""

STRANGERS = 0.99
"""An image is an outlier that is no nearer to its own identity than this share of the images is to
an identity drawn at random. So an image of somebody else is found in 99 of 100 cases, whatever the
network; of a set of frontal faces 0.4 % of the images are outliers, of one with profiles 5 %."""

LIKE = 0.05
"""An outlier shows another identity where it is as near to it as sound images are to their own:
nearer than this share of them."""
