"""The catalogue: what each function is.

A module here defines some activations and lists them, and their aliases, in its ``__all__``.
"""

from . import logistic, rectifiers, smooth
from . import softmax as _softmax
from .logistic import *
from .rectifiers import *
from .smooth import *
from .softmax import *

__all__: list[str] = []
__all__ += logistic.__all__
__all__ += rectifiers.__all__
__all__ += smooth.__all__
__all__ += _softmax.__all__
