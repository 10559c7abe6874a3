"""RecogAwareModel: any BasicSR image model class with recognition losses."""
