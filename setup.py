"""The package. The static metadata is here because the plugin layout needs code.

`package_dir={"": "."}` makes an editable install put the checkout itself on sys.path: Twisted looks for
plugins in sys.path directories only, so setuptools' usual import hook would hide ours.
"""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
PACKAGE = (HERE / "openclaw_twisted" / "__init__.py").read_text(encoding="utf-8")
VERSION = PACKAGE.split('__version__ = "')[1].split('"')[0]

setup(
    name="openclaw-twisted",
    version=VERSION,
    description="An event-driven gateway that lets OpenAI clients talk to your own agents.",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="openclaw-twisted contributors",
    license="MIT",
    license_files=["LICENSE", "THIRD_PARTY_NOTICES.md"],
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Framework :: Twisted",
        "Intended Audience :: Developers",
        "Intended Audience :: System Administrators",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Internet :: WWW/HTTP :: HTTP Servers",
        "Typing :: Typed",
    ],
    python_requires=">=3.11",
    package_dir={"": "."},
    packages=[*find_packages(include=["openclaw_twisted", "openclaw_twisted.*"]), "twisted.plugins"],
    package_data={"openclaw_twisted": ["py.typed", "**/*.sql", "**/*.jinja"]},
    zip_safe=False,
    install_requires=[
        "twisted[tls]>=26.10",
        "klein>=24.8",
        "autobahn>=26.7.1",
        "treq>=26.7",
        "httptools>=0.8",
        "json5>=0.17",
        "msgspec>=0.22",
        "automat>=25.4",
        "cryptography>=44",
        "click>=8.5",
        "prometheus-client>=0.26",
    ],
    extras_require={
        "local": ["xllamacpp>=2026.10.11549,<2027"],
        # schemathesis makes requests from the OpenAPI document and judges answers; it brings jsonschema-rs.
        "test": ["openai>=3.52,<4", "hypothesis>=6.170", "pyhamcrest>=2.1", "schemathesis>=4.32,<5"],
    },
    entry_points={"console_scripts": ["openclaw-gateway = openclaw_twisted.cli:main"]},
)
