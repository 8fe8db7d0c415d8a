"""When two runs are the same run, told without importing what computes them."""

from ablate.identity.code import Code as Code
from ablate.identity.code import IdentityError as IdentityError
from ablate.identity.digests import digest as digest
from ablate.identity.earlier import earlier_versions as earlier_versions
from ablate.identity.keras_backend import backend as backend
from ablate.identity.keras_backend import keras_file as keras_file
from ablate.identity.keras_backend import versions as versions
from ablate.identity.left_out import LEFT_OUT as LEFT_OUT
from ablate.identity.named_files import content as content
from ablate.identity.rule import cell as cell
from ablate.identity.rule import code_version as code_version
from ablate.identity.rule import definition as definition
from ablate.identity.rule import identity as identity
from ablate.identity.rule import known_cells as known_cells
from ablate.identity.rule import known_settings as known_settings
from ablate.identity.rule import settings as settings
