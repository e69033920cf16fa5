"""Every sentence that a person reads, in English, Russian, Turkish and Uzbek."""
