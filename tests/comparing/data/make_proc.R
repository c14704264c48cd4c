# What R's pROC says of some scores: Rscript make_proc.R > proc.json
suppressMessages(library(pROC))
set.seed(7)
n <- 60
label <- rep(c(0, 1), c(35, 25))
first <- round(rnorm(n) + 1.2 * label, 1)   # ties
second <- round(0.6 * first + rnorm(n) + 0.3 * label, 2)
one <- roc(label, first, levels = c(0, 1), direction = "<")
two <- roc(label, second, levels = c(0, 1), direction = "<")
test <- roc.test(one, two, method = "delong", paired = TRUE)
figures <- list(
  made_by = paste(R.version.string, "pROC", as.character(packageVersion("pROC"))),
  label = label, first = first, second = second,
  auc = c(as.numeric(auc(one)), as.numeric(auc(two))),
  se = c(sqrt(var(one, method = "delong")), sqrt(var(two, method = "delong"))),
  covariance = cov(one, two, method = "delong"),
  z = as.numeric(test$statistic), p = test$p.value,
  difference_ci = as.numeric(test$conf.int),
  youden = as.numeric(coords(one, "best", best.method = "youden", ret = c("threshold", "sensitivity", "specificity"), transpose = FALSE)[1, ])
)
show <- function(x) if (is.character(x)) dQuote(x, FALSE) else if (length(x) == 1) format(x, digits = 17) else paste0("[", paste(format(x, digits = 17, trim = TRUE), collapse = ", "), "]")
cat("{", paste(sprintf('"%s": %s', names(figures), sapply(figures, show)), collapse = ", "), "}\n")
