"""RecogAwareModel: any BasicSR image model class, with recognition losses added."""
from ra_plugin import compat

compat.mend_basicsr()  # before the first import of basicsr
