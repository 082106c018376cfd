# Classifiers: scores of predictions; head, loss, augmentation, models.
check_PROGRAMS += tests/check_calibration
TESTS += tests/check_calibration
tests_check_calibration_SOURCES = tests/check_calibration.c
tests_check_calibration_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_calibration_LDADD = $(OOM_LIBS) $(TEST_LIBS)

check_PROGRAMS += tests/check_classifier tests/check_classifier_d
TESTS += tests/check_classifier tests/check_classifier_d
tests_check_classifier_SOURCES = tests/check_classifier.c $(TESTRUN)
tests_check_classifier_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_classifier_LDADD = $(OOM_LIBS) $(TEST_LIBS)
tests_check_classifier_d_SOURCES = $(tests_check_classifier_SOURCES)
tests_check_classifier_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_classifier_d_LDADD = $(OOM_LIBS) $(TEST_LIBS)

check_PROGRAMS += tests/check_irevnet tests/check_irevnet_d
TESTS += tests/check_irevnet tests/check_irevnet_d
tests_check_irevnet_SOURCES = tests/check_irevnet.c $(LAYERFIX)
tests_check_irevnet_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_irevnet_LDADD = $(TEST_LIBS)
tests_check_irevnet_d_SOURCES = $(tests_check_irevnet_SOURCES)
tests_check_irevnet_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_irevnet_d_LDADD = $(TEST_LIBS)
